"""What a request asks for: the parts of OpenAI's and Anthropic's bodies that the mock reads. Pure."""

from typing import Annotated, TypeVar

import msgspec

from svc.base.errors import BadRequest
from svc.mock import tool

T = TypeVar("T")
Positive = Annotated[int, msgspec.Meta(ge=1)]
Few = Annotated[int, msgspec.Meta(ge=1, le=128)]
Prompt = str | list[str | int | list[int]]


class Part(msgspec.Struct):
    type: str
    text: str = ""


class Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content if part.text)
        return self.content or ""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Generation(msgspec.Struct, kw_only=True):
    """What chat and completions have in common."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    n: Few | None = 1
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


class Conversation(Generation, kw_only=True):
    """Where the prompt is a list of messages."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]

    def transcript(self) -> str:
        """All that the model has to read."""
        return "".join(f"{message.role}: {message.text}\n" for message in self.messages)

    def question(self) -> str:
        """What the answer repeats: the last that the user said."""
        said = [message for message in self.messages if message.role == "user"] or self.messages
        return said[-1].text


class Chat(Conversation, kw_only=True):
    max_completion_tokens: Positive | None = None
    tools: tool.Tools | None = None
    tool_choice: str | tool.Forced | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def forced(self) -> tool.Function | None:
        return tool.forced(self.tools or [], self.tool_choice)


class Messages(Conversation, kw_only=True):
    """Anthropic's."""

    max_tokens: Positive
    system: str | list[Part] = ""
    stop_sequences: list[str] | None = None

    @property
    def stops(self) -> list[str]:
        return self.stop_sequences or []

    def transcript(self) -> str:
        return f"system: {Message('system', self.system).text}\n{super().transcript()}"


class Responses(Generation, kw_only=True):
    input: str | Annotated[list[Message], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Positive | None = None

    @property
    def limit(self) -> int | None:
        return self.max_output_tokens

    def conversation(self) -> Conversation:
        said = [Message("user", self.input)] if isinstance(self.input, str) else self.input
        return Conversation(messages=[Message("system", self.instructions), *said])


class Completion(Generation, kw_only=True):
    prompt: Prompt


class Embedding(msgspec.Struct):
    input: Prompt
    model: str | None = None
    encoding_format: str | None = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None


class Document(msgspec.Struct):
    text: str


class Rerank(msgspec.Struct):
    query: str
    documents: Annotated[list[str | Document], msgspec.Meta(min_length=1)]
    model: str | None = None
    top_n: Positive | None = None


class Speech(msgspec.Struct):
    input: str
    model: str | None = None


class Image(msgspec.Struct):
    prompt: str
    model: str | None = None
    n: Few | None = 1


def texts(prompt: Prompt) -> list[str]:
    """The prompts in one: a text, a list of them, tokens, or a list of lists of tokens."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise BadRequest("cannot answer an empty list: give at least one text")
    if all(isinstance(item, int) for item in prompt):
        return [" ".join(map(str, prompt))]
    return [" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in prompt]


def parse(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise BadRequest(f"cannot read the request's JSON: {error}") from None
    except UnicodeDecodeError:
        raise BadRequest("cannot read the request's JSON: it is not UTF-8") from None
