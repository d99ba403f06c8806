"""Engines whose first answer breaks off, and which continue what another one has begun; and the client's view."""

import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Peer, ReceivedRequest

WORDS = [f"word{n} " for n in range(20)]
TEXT = "".join(WORDS)
PROMPT_TOKENS = 5
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS), "total_tokens": PROMPT_TOKENS + len(WORDS)}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Count"}], "stream": True}


def event(identity: str, choice: dict[str, Any] | None, **more: Any) -> bytes:
    """Return an event of a chat, as vLLM writes it."""
    choices = [] if choice is None else [{"index": 0, "logprobs": None, "finish_reason": None, **choice}]
    fields = {"id": identity, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: %b\n\n" % json.dumps(fields).encode()


def ending(identity: str, count: int, prompt: int, with_usage: bool) -> list[bytes]:
    usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
    finish = event(identity, {"delta": {}, "finish_reason": "stop"})
    return [finish, *([event(identity, None, usage=usage)] if with_usage else []), b"data: [DONE]\n\n"]


class Engines:
    """The script of all instances of a test. Each answer has an id of its own.

    The first answer breaks off after `events` events, and after what `broken` returns of the next one. `dies` is called
    then. `continuation` answers in place of a whole continuation.
    """

    def __init__(
        self,
        events: int = 6,
        broken: Callable[[bytes], bytes] = lambda data: b"",
        dies: Callable[[], object] = lambda: None,
        deltas: list[dict[str, Any]] | None = None,
        continuation: Callable[[Peer, ReceivedRequest], object] | None = None,
    ) -> None:
        self.received: list[dict[str, Any]] = []
        self._events = events
        self._broken = broken
        self._dies = dies
        self._deltas = deltas or [{"content": word} for word in WORDS]
        self._continuation = continuation
        self._lock = threading.Lock()

    def __call__(self, peer: Peer, received: ReceivedRequest) -> object:
        body = json.loads(received.body)
        with self._lock:
            self.received.append(body)
            number = len(self.received)
        identity = f"chatcmpl-{number}"
        with_usage = bool(body.get("stream_options", {}).get("include_usage"))
        if number > 1 and self._continuation is not None:
            return self._continuation(peer, received)
        if number == 1:
            whole = [event(identity, {"delta": {"role": "assistant", "content": ""}})]
            whole += [event(identity, {"delta": delta}) for delta in self._deltas]
            whole += ending(identity, len(WORDS), PROMPT_TOKENS, with_usage)
            for data in whole[: self._events]:
                peer.send((CHUNKED if data is whole[0] else b"") + chunk(data))
            if not self._events:
                peer.send(CHUNKED)
            peer.send(self._broken(chunk(whole[self._events])))
            self._dies()
            return False
        begun = body["messages"][-1]["content"] if body["messages"][-1]["role"] == "assistant" else ""
        rest = WORDS[len(begun.split()) :]
        text = TEXT[len(begun) :]
        first = text[: len(text) - len("".join(rest))]  # the blank that the router has stripped
        pieces = [first + rest[0], *rest[1:]] if rest else []
        role = event(identity, {"delta": {"role": "assistant", "content": ""}})
        words = [event(identity, {"delta": {"content": piece}}) for piece in pieces]
        prompt = PROMPT_TOKENS + len(WORDS) - len(rest)
        for data in [role, *words, *ending(identity, len(rest), prompt, with_usage)]:
            peer.send((CHUNKED if data is role else b"") + chunk(data))
        peer.send(b"0\r\n\r\n")
        return None


class View(NamedTuple):
    """What a client has read of a stream."""

    text: str
    roles: int
    identities: set[tuple[str, str, int]]
    finish_reasons: list[str]
    usages: list[dict[str, int]]
    errors: list[dict[str, str]]
    done: int


def view(body: bytes) -> View:
    *events, rest = body.split(b"\n\n")
    assert rest == b""
    seen = View("", 0, set(), [], [], [], 0)
    for data in events:
        assert data.startswith(b"data: "), data
        if data == b"data: [DONE]":
            seen = seen._replace(done=seen.done + 1)
            continue
        fields = json.loads(data[6:])
        if "error" in fields:
            seen.errors.append(fields["error"])
            continue
        seen.identities.add((fields["id"], fields["model"], fields["created"]))
        if fields.get("usage"):
            seen.usages.append(fields["usage"])
        for choice in fields["choices"]:
            delta = choice.get("delta", {})
            seen = seen._replace(
                text=seen.text + (delta.get("content") or ""), roles=seen.roles + bool(delta.get("role"))
            )
            if choice.get("finish_reason"):
                seen.finish_reasons.append(choice["finish_reason"])
    return seen
