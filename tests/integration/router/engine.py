"""A fake engine that counts the tokens which it processes and generates, as the request tells it to answer."""

import json
import threading
from contextlib import suppress
from typing import Any

from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest

REFUSAL = b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n"
FAILURE = b"HTTP/1.1 500 Error\r\nContent-Length: 2\r\n\r\n{}"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def usage(prompt: int, completion: int) -> bytes:
    return b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
        prompt,
        completion,
        prompt + completion,
    )


class Engine(Instance):
    """`prompt` and `completion` are its counters. Requests are made with `ask`."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__()
        self.prompt = self.completion = 0
        self.refuses = refuses
        self._counting = threading.Lock()
        self.script = self._answer

    def _answer(self, peer: Peer, received: ReceivedRequest) -> object:
        body = json.loads(received.body)
        kind, prompt, completion = body["kind"], body.get("prompt_tokens", 10), body.get("tokens", 5)
        if self.refuses:
            return peer.send(REFUSAL)
        if kind == "error":
            return peer.send(FAILURE)
        with self._counting:
            self.prompt += prompt
        if kind == "whole":
            self._count(completion)
            content = b'{"choices":[],%b}' % usage(prompt, completion)
            return peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
        return self._stream(peer, kind, prompt, completion, body)

    def _stream(self, peer: Peer, kind: str, prompt: int, completion: int, body: dict[str, Any]) -> bool:
        peer.send(CHUNKED)
        for _ in range(completion):
            peer.send(chunk(EVENT))
            self._count(1)
        if kind == "cut":
            return False
        if kind == "open":  # until the client leaves
            with suppress(OSError):
                peer.sock.recv(1)
            return False
        wanted = (body.get("stream_options") or {}).get("include_usage")
        if wanted or kind == "usage":
            peer.send(chunk(b'data: {"choices":[],%b}\n\n' % usage(prompt, completion)))
        peer.send(chunk(DONE) + LAST_CHUNK)
        return True

    def _count(self, tokens: int) -> None:
        with self._counting:
            self.completion += tokens


def ask(port: int, kind: str, leave_after: int | None = None, *headers: bytes, **fields: Any) -> bytes:
    """Send a request that is to be answered in this way; return the body of the response.

    With `leave_after`, read so many events and then leave.
    """
    content = {"model": "m", "stream": kind not in ("whole", "error"), "kind": kind, **fields}
    with Client(port) as client:
        client.send(post(content, *headers))
        if leave_after is None:
            return client.answer().body
        client.head()
        events = 0
        while events < leave_after:
            events += client.chunk().count(b"\n\n")
        return b""
