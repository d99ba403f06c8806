"""What the mock says, and how OpenAI's two dialects write it down. Pure."""

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
    finish: str  # stop | length

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
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    if found:
        said = list(_tokens(text[: min(found)]))
    if limit is not None and len(said) > limit:
        return Choice(said[:limit], "length")
    return Choice(said, "stop")


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
    whole: Callable[[str], dict[str, Any]]
    piece: Callable[[str, bool], dict[str, Any]]  # text, whether it is the choice's first
    last: dict[str, Any]


CHAT = Dialect(
    prefix="chatcmpl-",
    object="chat.completion",
    chunk_object="chat.completion.chunk",
    whole=lambda text: {"message": {"role": "assistant", "content": text, "refusal": None}},
    piece=lambda text, first: {"delta": {"role": "assistant", "content": text} if first else {"content": text}},
    last={"delta": {}},
)
TEXT = Dialect(
    prefix="cmpl-",
    object="text_completion",
    chunk_object="text_completion",
    whole=lambda text: {"text": text},
    piece=lambda text, _: {"text": text},
    last={"text": ""},
)


def body(answer: Answer, dialect: Dialect) -> bytes:
    """The answer in one piece."""
    choices = [
        {"index": i, **dialect.whole(choice.text), "logprobs": None, "finish_reason": choice.finish}
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
                yield timed, event(index, dialect.piece(text, step == 0))
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
