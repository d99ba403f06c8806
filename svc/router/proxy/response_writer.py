"""Writes an instance's response to the client, each part as soon as it arrives."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from svc.router.http.request import RequestHead
from svc.router.http.request_parser import RequestParser
from svc.router.http.response_parser import STATUS_SWITCHING_PROTOCOLS
from svc.router.http.sockets import RECEIVE_BYTES, pump, send_close_notify, shut
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.stream_usage import passes_without_usage

RATE_LIMIT_LINES = re.compile(rb"(?im)^x-ratelimit-[^\r\n]*\r\n")  # dropped, as the client's key has its own
Send = Callable[[bytes], None]


def write_response(
    exchange: Exchange, head: RequestHead, keep: bool, sock: socket.socket, send: Send, reader: RequestParser
) -> bool:
    """Send the response's head and body; return whether the client's connection can be kept.

    `head` is the request's head. `keep` is false if the client or the router wants the connection closed. `sock` is the
    client's socket, `send` writes to it, and `reader` parses the requests that arrive on it.
    """
    upstream, answer = exchange.upstream, exchange.head
    assert upstream is not None
    assert answer is not None
    length = upstream.length
    switching = bool(head.upgrade) and answer.status == STATUS_SWITCHING_PROTOCOLS
    bodiless = answer.bodiless or switching or head.method == b"HEAD"
    chunked = not bodiless and length is None and not head.http10
    keep = keep and (bodiless or length is not None or chunked)
    response_head = _response_head(exchange, head, keep, chunked, switching)
    exchange.answered = True
    if switching:
        _relay_tunnel(exchange, response_head, sock, send, reader.bytes_after_upgrade)
    elif bodiless:
        send(response_head)
    else:
        data = exchange.read() if upstream.available() else b""
        if chunked:
            write_chunks(exchange, response_head, data, sock, send)
        else:
            send(response_head + data)
            if not exchange.finished():
                _write_bytes(exchange, send)
            if length is None:
                send_close_notify(sock)
    return keep


def _response_head(exchange: Exchange, head: RequestHead, keep: bool, chunked: bool, switching: bool) -> bytes:
    """Return the response head that is sent to the client. `head`: the head of the request."""
    upstream, answer = exchange.upstream, exchange.head
    assert upstream is not None
    assert answer is not None
    lines = b""
    if upstream.length is not None:
        lines = b"Content-Length: %d\r\n" % upstream.length
    elif chunked:
        lines = b"Transfer-Encoding: chunked\r\n"
    if answer.events:
        lines += b"X-Accel-Buffering: no\r\n"
    start = answer.start
    if exchange.limits is not None and exchange.limits.is_limited:
        lines += exchange.limits.header_lines(exchange.state.clock())
        start = RATE_LIMIT_LINES.sub(b"", start)
    if cors_lines := head.origin_decision.lines:
        lines += cors_lines
    if b"x-served-by" in head.special:
        lines += b"X-Served-By: %b\r\n" % upstream.target.name.encode()
    if switching:
        lines += b"Connection: Upgrade\r\n"
    elif not keep:
        lines += b"Connection: close\r\n"
    elif head.http10:
        lines += b"Connection: keep-alive\r\n"
    return b"%b%b\r\n%b\r\n" % (start, exchange.request_id, lines)


def _relay_tunnel(
    exchange: Exchange, response_head: bytes, sock: socket.socket, send: Send, bytes_after_upgrade: bytes
) -> None:
    """Send the response head, then relay bytes in both directions until either side ends its connection."""
    upstream = exchange.upstream
    assert upstream is not None
    exchange.is_tunnel = True
    first_bytes = upstream.read()
    exchange.count_tunnel_bytes(len(first_bytes), from_instance=True)
    send(response_head + first_bytes)
    upstream.sock.sendall(bytes_after_upgrade)
    _tunnel(sock, upstream.sock, exchange.count_tunnel_bytes)
    upstream.done = True


def _tunnel(client: socket.socket, instance: socket.socket, passed: Callable[[int, bool], object]) -> None:
    """Copy bytes in both directions until either connection ends, then shut both down.

    `passed` is called after each piece with its number of bytes, and whether it came from the instance.
    """

    def copy_to_instance() -> None:
        _copy(client, instance, lambda size: passed(size, False))
        _shut_both(client, instance)

    thread = threading.Thread(target=copy_to_instance, name="tunnel", daemon=True)
    thread.start()
    _copy(instance, client, lambda size: passed(size, True))
    _shut_both(client, instance)
    thread.join()


def _copy(source: socket.socket, sink: socket.socket, passed: Callable[[int], object]) -> None:
    with suppress(OSError):
        while data := source.recv(RECEIVE_BYTES):
            sink.sendall(data)
            passed(len(data))


def _shut_both(client: socket.socket, instance: socket.socket) -> None:
    for sock in (client, instance):
        with suppress(OSError):
            shut(sock)


def _write_bytes(exchange: Exchange, send: Send) -> None:
    """Send the rest of a body that is not chunked: it ends after Content-Length bytes, or with the connection."""
    while data := exchange.read():
        send(data)
        if exchange.finished():
            return


def write_chunks(exchange: Exchange, response_head: bytes, data: bytes, sock: socket.socket, send: Send) -> None:
    """Send the head and a body of unknown length in chunks. `data`: the first part of the body."""
    upstream, finished = exchange.upstream, exchange.finished()
    send(response_head + chunk(data, finished))
    if exchange.stream is not None and exchange.stream.rewriter is None and not finished:
        assert upstream is not None
        passes = partial(passes_without_usage, exchange) if exchange.hides_usage else exchange.passes
        upstream.relay = pump(upstream.sock, sock, passes, send, exchange.state.upstream_pool.stream_poll)
    while not finished:
        data = exchange.read()
        finished = exchange.finished()
        if data or finished:
            send(chunk(data, finished))


def chunk(data: bytes, last: bool) -> bytes:
    """Return the data as an HTTP chunk; if it is the last, with the end of the body behind it."""
    if not data:
        return b"0\r\n\r\n" if last else b""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if last else b"%x\r\n%b\r\n" % (len(data), data)
