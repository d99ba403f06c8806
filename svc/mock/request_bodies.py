"""The fields of OpenAI's and Anthropic's request bodies that the mock reads. Pure."""

from typing import Annotated, TypeVar

import msgspec

from svc.base.errors import BadRequest
from svc.mock.json_schema import Schema
from svc.mock.message_content import Content, ContentPart, ConversationMessage, texts_of
from svc.mock.tool_script import ScriptedCall, ToolScript, Turn, tool_script
from svc.mock.tools import ChatTool, Function, MessagesTool, ToolChoice, required_function

T = TypeVar("T")
Positive = Annotated[int, msgspec.Meta(ge=1)]
ChoiceCount = Annotated[int, msgspec.Meta(ge=1, le=128)]
Prompt = str | list[str | int | list[int]]


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class AnswerFormat(msgspec.Struct):
    """The required format of an answer. In Chat Completions, the schema is inside of a second object, `json_schema`."""

    type: str = "text"  # text | json_object | json_schema
    schema: Schema | None = None
    json_schema: "AnswerFormat | None" = None

    def answer_schema(self) -> Schema | None:
        """Return the schema of the answer, or None for a text."""
        if self.type == "json_object":
            return {"type": "object", "required": ["answer"]}
        nested = self.json_schema or self
        return nested.schema if self.type == "json_schema" else None


class FormatField(msgspec.Struct):
    """The object in which Responses (`text`) and Messages (`output_config`) put the format."""

    format: AnswerFormat | None = None


class GenerationBody(msgspec.Struct, kw_only=True):
    """The fields that all requests for generated text share."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    n: ChoiceCount | None = 1
    stop: str | list[str] | None = None

    @property
    def limit(self) -> int | None:
        return self.max_tokens

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def answer_format(self) -> AnswerFormat | None:
        return None

    def answer_schema(self) -> Schema | None:
        """Return the JSON Schema that the answer must follow, or None for a text."""
        return self.answer_format.answer_schema() if self.answer_format else None

    def required_function(self) -> Function | None:
        """Return the function that the answer must call, or None if the model may answer with a text.

        Raise BadRequest if the request's tools do not include that function.
        """
        return None

    def scripted_call(self) -> ScriptedCall | None:
        """Return the call that the prompt dictates now; None if there is none."""
        return None


class ConversationBody(GenerationBody, kw_only=True):
    """A request whose prompt is a list of messages."""

    messages: Annotated[list[ConversationMessage], msgspec.Meta(min_length=1)]

    def transcript(self) -> str:
        """Return the text of all messages, which the model reads."""
        return "".join(f"{message.role}: {message.text}\n" for message in self.messages)

    def tool_script(self) -> ToolScript:
        return tool_script(message.turn() for message in self.messages)

    def last_user_text(self) -> str:
        """Return the text that the answer repeats: the last user message, or the last message if no user sent one.

        At the end of a tool script, that is the result of its last call.
        """
        if (result := self.tool_script().last_result) is not None:
            return result
        begun = 1 if self.begun_answer() else 0
        messages = self.messages[: len(self.messages) - begun] or self.messages
        candidates = [message for message in messages if message.role == "user"] or messages
        return candidates[-1].text

    def begun_answer(self) -> str:
        """Return the text of a final assistant message, which the answer shall continue; "" if there is none.

        White space at its end is left out, as chat templates do.
        """
        last = self.messages[-1]
        return last.text.rstrip() if last.role == "assistant" else ""


class ChatBody(ConversationBody, kw_only=True):
    max_completion_tokens: Positive | None = None
    tools: Annotated[list[ChatTool], msgspec.Meta(max_length=128)] | None = None
    tool_choice: str | ToolChoice | None = None
    response_format: AnswerFormat | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def begun_answer(self) -> str:
        """Return the text of a final assistant message, unless the request forbids to continue it.

        llama.cpp does so, too; vLLM continues the message only if the request asks for that.
        """
        if self.continue_final_message and self.add_generation_prompt:
            raise BadRequest("cannot set both `continue_final_message` and `add_generation_prompt` to true")
        return "" if self.continue_final_message is False else super().begun_answer()

    @property
    def answer_format(self) -> AnswerFormat | None:
        return self.response_format

    def required_function(self) -> Function | None:
        return required_function((tool.function for tool in self.tools or ()), self.tool_choice)

    def scripted_call(self) -> ScriptedCall | None:
        return self.tool_script().next_call({tool.function.name for tool in self.tools or ()})


class CountBody(ConversationBody, kw_only=True):
    """A request to Anthropic's /v1/messages/count_tokens."""

    system: str | list[ContentPart] = ""
    tools: list[MessagesTool] | None = None

    def transcript(self) -> str:
        return f"system: {ConversationMessage('system', self.system).text}\n{super().transcript()}"


class MessagesBody(CountBody, kw_only=True):
    """A request to Anthropic's /v1/messages."""

    max_tokens: Positive
    stop_sequences: list[str] | None = None
    tool_choice: ToolChoice | None = None
    output_config: FormatField | None = None

    @property
    def stops(self) -> list[str]:
        return self.stop_sequences or []

    def begun_answer(self) -> str:
        """Return the text of a final assistant message; like Anthropic, raise BadRequest for white space at its end."""
        last = self.messages[-1]
        if last.role == "assistant" and last.text != last.text.rstrip():
            raise BadRequest("messages: final assistant content cannot end with trailing whitespace")
        return super().begun_answer()

    @property
    def answer_format(self) -> AnswerFormat | None:
        return self.output_config.format if self.output_config else None

    def required_function(self) -> Function | None:
        return required_function((tool.function for tool in self.tools or ()), self.tool_choice)

    def scripted_call(self) -> ScriptedCall | None:
        return self.tool_script().next_call({tool.name for tool in self.tools or ()})


class InputItem(ConversationMessage):
    """An item in the input of Responses: a message, a function call, or its result. Only a message has a role."""

    role: str = ""
    type: str = "message"
    output: Content = None  # the output of a function

    def turn(self) -> Turn:
        if self.type == "function_call_output":
            return Turn(results=[" ".join(texts_of(self.output))])
        return super().turn()


class ResponsesBody(GenerationBody, kw_only=True):
    input: str | Annotated[list[InputItem], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    tools: list[Function] | None = None
    tool_choice: str | ToolChoice | None = None
    text: FormatField | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None

    @property
    def limit(self) -> int | None:
        return self.max_output_tokens

    @property
    def keeps_response(self) -> bool:
        """Whether the server keeps the response for later requests, which is the default of OpenAI and SGLang."""
        return self.store is not False

    @property
    def answer_format(self) -> AnswerFormat | None:
        return self.text.format if self.text else None

    def conversation(self) -> ConversationBody:
        messages = [ConversationMessage("user", self.input)] if isinstance(self.input, str) else self.input
        return ConversationBody(messages=[ConversationMessage("system", self.instructions), *messages])

    def required_function(self) -> Function | None:
        return required_function(self.tools or (), self.tool_choice)

    def scripted_call(self) -> ScriptedCall | None:
        return self.conversation().tool_script().next_call({function.name for function in self.tools or ()})


class CompletionBody(GenerationBody, kw_only=True):
    prompt: Prompt


class EmbeddingBody(msgspec.Struct):
    input: Prompt
    model: str | None = None
    encoding_format: str | None = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None


class Document(msgspec.Struct):
    text: str


class RerankBody(msgspec.Struct):
    query: str
    documents: Annotated[list[str | Document], msgspec.Meta(min_length=1)]
    model: str | None = None
    top_n: Positive | None = None


class SpeechBody(msgspec.Struct):
    input: str
    model: str | None = None


class ImageBody(msgspec.Struct):
    prompt: str
    model: str | None = None
    n: ChoiceCount | None = 1


def prompt_texts(prompt: Prompt) -> list[str]:
    """Return the prompts in a field that is a text, a list of texts, a list of tokens, or a list of such lists."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise BadRequest("cannot answer an empty list: give at least one text")
    if all(isinstance(item, int) for item in prompt):
        return [" ".join(map(str, prompt))]
    return [" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in prompt]


def parse(body: bytes, body_type: type[T]) -> T:
    """Return the body decoded as `body_type`; raise BadRequest if it is invalid."""
    try:
        return msgspec.json.decode(body, type=body_type)
    except msgspec.DecodeError as error:
        raise BadRequest(f"cannot read the request's JSON: {error}") from None
    except UnicodeDecodeError:
        raise BadRequest("cannot read the request's JSON: it is not UTF-8") from None
