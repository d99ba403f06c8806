"""Keeps the connection of a stream alive while its request waits until an instance is awake.

Clients and proxies end a request if no data arrives for some time, but loading a model may take minutes. So the
router sends the head of the response after BEGIN_SECONDS, and comments of the event stream from then on, which clients
ignore. The events of the instance follow on the same connection. An error, also the instance's, becomes an error event.
"""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from svc.base.errors import BadGateway, SvcError, message_of
from svc.router.http.error_dialect import error_event
from svc.router.http.request import Media
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.response_breaks import ClientGone, TruncatedResponse
from svc.router.proxy.response_writer import chunk, write_chunks

if TYPE_CHECKING:
    from svc.router.http.response_parser import ResponseHead

BEGIN_SECONDS = 2.0  # a request that waits for less gets the instance's own head, with its status
COMMENT_INTERVAL_SECONDS = 10.0
COMMENT = b": the model is being woken\n\n"
NEVER = float("inf")
MAX_ERROR_BYTES = 64 << 10  # the most that is read of an answer that is no event stream
STREAM_PATHS = frozenset(
    b"/v1/chat/completions /chat/completions /v1/completions /completions /v1/responses /responses /v1/messages "
    b"/messages".split()
)
START = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
START += b"Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n"


class _StreamField(msgspec.Struct, gc=False):
    stream: bool | None = None


_decode_stream = msgspec.json.Decoder(_StreamField).decode


class WaitingConnection(Protocol):
    """A client's connection, as the sweep sees it."""

    exchange: Exchange | None

    def keep_waiting(self) -> None: ...


def keep_waiting_streams(connections: Iterable[WaitingConnection]) -> None:
    """Have comments sent to clients whose streams wait for a wake. Call this once a second in the worker's sweep."""
    for connection in connections:
        if connection.exchange is not None and connection.exchange.waiting_since:
            connection.keep_waiting()


class WaitingStream:
    """The response to one request that waits. The greenlet of the request sends it; the sweep only wakes it.

    `begun`: whether the head was sent. `due`: when the next comment is due; NEVER if the client gets none.
    `takes_bytes` returns whether `send` would return without waiting for the client. The greenlet must not wait for a
    client that does not read: while its request has the turn in the queue, no other request for the model is served.
    """

    __slots__ = ("_keep", "_send", "_takes_bytes", "begun", "due")

    def __init__(
        self, exchange: Exchange, send: Callable[[bytes], None], takes_bytes: Callable[[], bool], keep: bool
    ) -> None:
        self._send = send
        self._takes_bytes = takes_bytes
        self._keep = keep
        self.begun = False
        self.due = 0.0 if _wants_stream(exchange) else NEVER

    def keep_alive(self, exchange: Exchange) -> None:
        """Send the head, if it was not sent yet, and a comment, if they are due; raise ClientGone."""
        now = exchange.state.now
        if now < self.due or not self._takes_bytes():  # the sweep asks again within a second
            return
        head = b"" if self.begun else self._head(exchange)
        self.begun = exchange.answered = True
        self.due = now + COMMENT_INTERVAL_SECONDS
        try:
            self._send(head + chunk(COMMENT, last=False))
        except OSError:
            raise ClientGone from None

    def _head(self, exchange: Exchange) -> bytes:
        lines = exchange.request.head.origin_decision.lines
        if exchange.limits is not None and exchange.limits.is_limited:
            lines += exchange.limits.header_lines(exchange.state.clock())
        if not self._keep:
            lines += b"Connection: close\r\n"
        return b"%bx-request-id: %b\r\n%b\r\n" % (START, exchange.request_id, lines)

    def join(self, exchange: Exchange, keep: bool, sock: socket.socket) -> bool:
        """Send what the instance answers; return whether the client's connection can be kept.

        `keep` is false if the router wants the connection closed.
        """
        answer = exchange.head
        assert answer is not None
        if answer.status == 200 and exchange.stream is not None and not _is_compressed(answer):
            write_chunks(exchange, b"", exchange.read(), sock, self._send)
        else:
            self._send(chunk(_answered_error(exchange, answer), last=True))
        return keep and self._keep

    def end(self, error: SvcError, uri: bytes, keep: bool) -> bool:
        """End the stream with an error event; return whether the client's connection can be kept."""
        with suppress(OSError):
            self._send(chunk(error_event(error, uri), last=True))
        return keep and self._keep


def may_wait_long(exchange: Exchange) -> bool:
    """Return whether the request has waited for BEGIN_SECONDS for a model that is asleep, and nothing was answered."""
    state = exchange.state
    if exchange.model not in state.balancer.table.asleep or exchange.answered:
        return False
    return bool(exchange.waiting_since) and state.clock() - exchange.waiting_since >= BEGIN_SECONDS


def _wants_stream(exchange: Exchange) -> bool:
    request = exchange.request
    head = request.head
    if head.method != b"POST" or head.http10 or head.media is not Media.JSON:
        return False
    if head.uri.partition(b"?")[0] not in STREAM_PATHS:
        return False
    try:
        return _decode_stream(request.body).stream is True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _is_compressed(answer: "ResponseHead") -> bool:
    return any(name.lower() == b"content-encoding" and value != b"identity" for name, value in answer.headers)


def _answered_error(exchange: Exchange, answer: "ResponseHead") -> bytes:
    """Return the error event for an answer that is no event stream.

    The instance's own error is passed on if it has one, because its code and its parameters may mean something to the
    client.
    """
    uri, body = exchange.request.head.uri, b""
    try:
        while len(body) < MAX_ERROR_BYTES and (data := exchange.read()):
            body += data
    except TruncatedResponse:
        body = b""
    if not exchange.finished() or answer.status < 400:
        exchange.end = "failed"
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = None
    message = message_of(content)
    if isinstance(content, dict) and message and isinstance(content.get("error"), dict):
        error = msgspec.json.encode(content)
        is_anthropic = exchange.request.head.is_anthropic
        if is_anthropic and content.get("type") == "error":
            return b"event: error\ndata: %b\n\n" % error
        if not is_anthropic:
            return b"data: %b\n\ndata: [DONE]\n\n" % error
    kind = next((value for name, value in answer.headers if name.lower() == b"content-type"), b"").decode("latin-1")
    answer_text = f"{answer.status}: {message}" if message else f"{answer.status} ({kind or 'without a type'})"
    return error_event(BadGateway(f"the instance answered {answer_text} instead of an event stream"), uri)
