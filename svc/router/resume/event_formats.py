"""The fields of streamed events that matter for a continuation, and how they are read. Pure.

msgspec reads an event first. It refuses unknown fields of a delta, because they may contain a part of the answer that
would be lost. An event that msgspec refuses is read again leniently: unknown fields are accepted if they have no value,
and Python's `json` also reads half a surrogate pair, which an engine may write at the end of an event.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, ValueError, RecursionError)  # UnicodeDecodeError is a ValueError
PREFIX = b"data: "
DONE = b"[DONE]"


class TokenDetails(msgspec.Struct, gc=False):
    """The details of the tokens of a prompt."""

    cached_tokens: int | None = None


class CompletionUsage(msgspec.Struct, gc=False):
    """The tokens that an event reports, in OpenAI's form."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: TokenDetails | None = None


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The part of a chat's answer in one event. A field of type Any is only checked for a value."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None  # the field's name in SGLang, llama.cpp and earlier versions of vLLM
    reasoning: str | None = None  # the field's name in vLLM
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    audio: Any = None
    annotations: Any = None
    hidden_states: Any = None


class Choice(msgspec.Struct, gc=False):
    """One choice in an event of OpenAI's form: with a `delta` in a chat, with a `text` in a completion."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Completion(msgspec.Struct, gc=False):
    """An event of OpenAI's form."""

    choices: list[Choice] | None = None
    usage: CompletionUsage | None = None
    error: Any = None


class FirstCompletion(Completion, gc=False):
    """An event of OpenAI's form, with the fields that are the same in all events of an answer."""

    id: str = ""
    model: str = ""
    created: int | None = None


class MessageUsage(msgspec.Struct, gc=False):
    """The tokens that an event reports, in Anthropic's form."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Message(msgspec.Struct, gc=False):
    """The message in an event `message_start`."""

    id: str = ""
    model: str = ""
    content: list[Any] = []
    usage: MessageUsage | None = None


class ContentBlock(msgspec.Struct, gc=False):
    """The beginning of a content block in Anthropic's form."""

    type: str
    text: str = ""


class MessageDelta(msgspec.Struct, gc=False):
    """The part of a content block in one event, or the end of the whole message."""

    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class MessageEvent(msgspec.Struct, gc=False):
    """An event of Anthropic's form."""

    type: str
    index: int = 0
    message: Message | None = None
    content_block: ContentBlock | None = None
    delta: MessageDelta | None = None
    usage: MessageUsage | None = None


decode_completion: Callable[[bytes], Completion] = msgspec.json.Decoder(Completion).decode
decode_first_completion: Callable[[bytes], FirstCompletion] = msgspec.json.Decoder(FirstCompletion).decode
_decode_fields: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
decode_message: Callable[[bytes], MessageEvent] = msgspec.json.Decoder(MessageEvent).decode


def lenient_completion(data: bytes) -> FirstCompletion:
    """Return an event of OpenAI's form that msgspec refuses; raise one of DECODE_ERRORS if its parts are unknown."""
    fields = json.loads(data)
    choices = fields.get("choices") if isinstance(fields, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(delta := choice.get("delta"), dict):
            choice["delta"] = {name: value for name, value in delta.items() if value or name == "content"}
    return msgspec.convert(fields, FirstCompletion)


def lenient_message(data: bytes) -> MessageEvent:
    """Return an event of Anthropic's form that msgspec refuses; raise one of DECODE_ERRORS if it is unknown."""
    return msgspec.convert(json.loads(data), MessageEvent)


def payload(event: bytes) -> bytes:
    """Return the data of an event, empty if it has none (HTML standard, 9.2.6). `event`: without its empty line."""
    if event.startswith(PREFIX) and b"\n" not in event and b"\r" not in event:
        return event[6:]
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(values)


def read_event(data: bytes) -> dict[str, Any]:
    """Return the fields of an event; raise one of DECODE_ERRORS if it is no object."""
    try:
        return _decode_fields(data)
    except DECODE_ERRORS:
        fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("an event is no object")
    return fields


def written(fields: dict[str, Any]) -> bytes:
    """Return an event of OpenAI's form with these fields."""
    try:
        return b"data: %b\n\n" % msgspec.json.encode(fields)
    except UnicodeEncodeError:  # half a surrogate pair is written as an escape
        return b"data: %b\n\n" % json.dumps(fields, separators=(",", ":")).encode()


def written_message(fields: dict[str, Any]) -> bytes:
    """Return an event of Anthropic's form with these fields."""
    return b"event: %b\n%b" % (fields["type"].encode(), written(fields))


def join_surrogates(text: str) -> str:
    """Return the text with each surrogate pair joined to one character; raise ValueError for a single half."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    return text
