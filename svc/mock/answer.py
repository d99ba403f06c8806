"""What the mock says, and how chat and completions write it down. Pure."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

import msgspec

NATURAL_LENGTH = 64  # tokens, where nobody asks for more: the echo of a long prompt need not be long
# Bounded repeats: a prompt of a million blanks must not take a million squared steps.
TOKEN = re.compile(r"\s{0,8}\S{1,16}|\s{1,8}")

encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Choice:
    tokens: list[str]
    finish: str  # stop | length | tool_calls
    call: str = ""  # the function that is called; the tokens are its arguments then
    stop: str | None = None  # the stop sequence that ended it

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: dict[str, Any]


def say(name: str, prompt: str, tokens: int | None, limit: int | None, stops: list[str]) -> Choice:
    """`NAME heard: PROMPT`, as long as it is, or `tokens` long by going round; at most `limit` tokens."""
    begun = _tokens(f"{name} heard: {prompt}")
    said = list(islice(begun, NATURAL_LENGTH) if tokens is None else islice(chain(begun, _round(prompt)), tokens))
    text = "".join(said)
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    at, stop = min(found, default=(len(text), None))
    said = list(_tokens(text[:at])) if found else said
    if limit is not None and len(said) > limit:
        return Choice(said[:limit], "length")
    return Choice(said, "stop", stop=stop)


def call(function: str, arguments: str) -> Choice:
    """A call in place of words."""
    return Choice(list(_tokens(arguments)), "tool_calls", function)


def _tokens(text: str) -> Iterator[str]:
    return (match.group() for match in TOKEN.finditer(text))


def _round(prompt: str) -> Iterator[str]:
    return cycle(_tokens(f" {prompt.strip() or '...'}"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where /chat/completions and /completions differ."""

    prefix: str
    object: str
    chunk_object: str
    whole: Callable[[Choice], dict[str, Any]]
    piece: Callable[[Choice, str, bool], dict[str, Any]]  # choice, text, whether it is the choice's first
    last: dict[str, Any]


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.call:
        message |= {"content": None, "tool_calls": [_called(choice.call, choice.text)]}
    return {"message": message}


def _delta(choice: Choice, text: str, first: bool) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if not choice.call:
        return {"delta": {**delta, "content": text}}
    part = _called(choice.call, text) if first else {"function": {"arguments": text}}
    return {"delta": {**delta, "tool_calls": [{"index": 0, **part}]}}


def _called(function: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{function}", "type": "function", "function": {"name": function, "arguments": arguments}}


CHAT = Dialect(
    prefix="chatcmpl-",
    object="chat.completion",
    chunk_object="chat.completion.chunk",
    whole=_message,
    piece=_delta,
    last={"delta": {}},
)
TEXT = Dialect(
    prefix="cmpl-",
    object="text_completion",
    chunk_object="text_completion",
    whole=lambda choice: {"text": choice.text},
    piece=lambda _, text, __: {"text": text},
    last={"text": ""},
)


def body(answer: Answer, dialect: Dialect) -> bytes:
    """The answer in one piece."""
    choices = [
        {"index": i, **dialect.whole(choice), "logprobs": None, "finish_reason": choice.finish}
        for i, choice in enumerate(answer.choices)
    ]
    return encode({**_head(answer, dialect.object), "choices": choices, "usage": answer.usage})


def events(answer: Answer, dialect: Dialect, with_usage: bool) -> Iterator[tuple[bool, bytes]]:
    """The answer as server-sent events; True marks those that the model takes time to come up with."""
    head = _head(answer, dialect.chunk_object) | ({"usage": None} if with_usage else {})

    def event(index: int, piece: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, **piece, "logprobs": None, "finish_reason": finish}
        return b"data: %b\n\n" % encode({**head, "choices": [choice]})

    for step in range(max(1, *(len(choice.tokens) for choice in answer.choices))):
        timed = True
        for index, choice in enumerate(answer.choices):
            if step < len(choice.tokens) or step == 0:
                text = choice.tokens[step] if choice.tokens else ""
                yield timed, event(index, dialect.piece(choice, text, step == 0))
                timed = False
    for index, choice in enumerate(answer.choices):
        yield False, event(index, dialect.last, choice.finish)
    if with_usage:
        yield False, b"data: %b\n\n" % encode({**head, "choices": [], "usage": answer.usage})
    yield False, b"data: [DONE]\n\n"


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "mock",
    }
