"""What a request asks for: the parts of OpenAI's bodies that the mock reads. Pure."""

from typing import Annotated, TypeVar

import msgspec

from svc.errors import BadRequest

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


class Chat(Generation, kw_only=True):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Positive | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def transcript(self) -> str:
        """All that the model has to read."""
        return "".join(f"{message.role}: {message.text}\n" for message in self.messages)

    def question(self) -> str:
        """What the answer repeats: the last that the user said."""
        said = [message for message in self.messages if message.role == "user"] or self.messages
        return said[-1].text


class Completion(Generation, kw_only=True):
    prompt: Prompt


class Embedding(msgspec.Struct):
    input: Prompt
    model: str | None = None
    encoding_format: str | None = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None


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
