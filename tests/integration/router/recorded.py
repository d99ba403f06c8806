"""Recorded answers of instances, right and wrong, and what a client may read of each. Pure.

A body holds the nonce of its request exactly once, so that an answer in the wrong hands is recognized.
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

NONCE = re.compile(rb"nonce-[0-9a-f]{12}")
INTERIM = (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")


class Case(NamedTuple):
    """What an answer is recorded for."""

    nonce: bytes
    other: bytes  # another request's nonce, for answers to which foreign bytes are added
    head_only: bool  # the request is a HEAD
    named: bool  # the nonce is also in a header; without it, heads repeat, and the router remembers them
    interim: bytes = b""
    padding: int = 0  # bytes


class Recorded(NamedTuple):
    """The bytes of an answer, and the reading of a strict client.

    `end` is where the message is complete, None where only the end of the
    connection completes it. What follows `end` belongs to no answer.
    """

    data: bytes
    end: int | None
    status: int
    body: bytes
    sound: bool  # a router has no reason not to pass it on

    @property
    def head_end(self) -> int:
        return _final_head(self.data) or len(self.data)


def _final_head(data: bytes) -> int:
    """Return where the head of the final answer ends, behind interim ones."""
    end = 0
    while data.startswith(b"HTTP/1.1 1", end):
        end = data.index(b"\r\n\r\n", end) + 4
    return data.find(b"\r\n\r\n", end) + 4


def body_of(case: Case) -> bytes:
    return json.dumps({"answer": case.nonce.decode(), "padding": "p" * case.padding}).encode()


def head(status: str, case: Case, *headers: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"HTTP/%b %b" % (version, status.encode()), b"Content-Type: application/json", *headers]
    if case.named:
        lines.append(b"X-Nonce: " + case.nonce)
    return case.interim + b"\r\n".join(lines) + b"\r\n\r\n"


def length(number: int) -> bytes:
    return b"Content-Length: %d" % number


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def sized(case: Case, status: str = "200 OK", sound: bool = True, after: bytes = b"", *headers: bytes) -> Recorded:
    """An answer with Content-Length, with bytes behind it that belong to no answer."""
    body = body_of(case)
    start = head(status, case, *headers, length(len(body)))
    if case.head_only:  # such an answer has no body
        return Recorded(start + after, len(start), int(status[:3]), b"", sound and not after)
    return Recorded(start + body + after, len(start) + len(body), int(status[:3]), body, sound and not after)


def bodiless(case: Case, status: str, *headers: bytes, after: bytes = b"") -> Recorded:
    """An answer that never has a body, with bytes behind it where an instance sends one all the same."""
    start = head(status, case, *headers)
    return Recorded(start + after, len(start), int(status[:3]), b"", not after)


def in_chunks(case: Case, content_type: bytes = b"", pieces: Callable[[bytes], list[bytes]] | None = None) -> Recorded:
    body = body_of(case) if not content_type else events_of(case)
    start = head("200 OK", case, b"Transfer-Encoding: chunked")
    if content_type:
        start = start.replace(b"application/json", content_type)
    if case.head_only:
        return Recorded(start, len(start), 200, b"", True)
    data = start + chunked(*(pieces(body) if pieces else [body[:9], body[9:]]))
    return Recorded(data, len(data), 200, body, True)


def events_of(case: Case) -> bytes:
    padding = b"data: %b\n\n" % (b"p" * case.padding)
    return b'data: {"choices": []}\n\ndata: {"answer": "%b"}\n\n%bdata: [DONE]\n\n' % (case.nonce, padding)


def whole_events(body: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in body.split(b"\n\n")[:-1]]


def split_events(body: bytes) -> list[bytes]:
    """Chunks that end in the middle of events."""
    return [body[start : start + 17] for start in range(0, len(body), 17)]


def until_close(case: Case) -> Recorded:
    start = head("200 OK", case)
    if case.head_only:
        return Recorded(start, len(start), 200, b"", True)
    return Recorded(start + body_of(case), None, 200, body_of(case), True)


def old_version(case: Case, *headers: bytes) -> Recorded:
    body = body_of(case)
    start = head("200 OK", case, *headers, length(len(body)), version=b"1.0")
    if case.head_only:
        return Recorded(start, len(start), 200, b"", True)
    return Recorded(start + body, len(start) + len(body), 200, body, True)


def wrong_length(case: Case, difference: int) -> Recorded:
    body = body_of(case)
    start = head("200 OK", case, length(len(body) + difference))
    if case.head_only:
        return Recorded(start, len(start), 200, b"", True)
    end = len(start) + len(body) + difference if difference < 0 else None
    return Recorded(start + body, end, 200, body[:difference] if difference < 0 else body, False)


def invalid(case: Case, data: bytes) -> Recorded:
    """What is not HTTP, or is ambiguous: a client gets an error of the router."""
    return Recorded(data, len(data), 0, b"", False)


def foreign(case: Case) -> Case:
    return case._replace(nonce=case.other, interim=b"", head_only=False)


def with_body(case: Case) -> Recorded:
    """An answer with its body also where the request is a HEAD."""
    if not case.head_only:
        return sized(case)
    return sized(case, "200 OK", False, body_of(case))


def both_framings(case: Case) -> Recorded:
    return invalid(case, head("200 OK", case, length(2), b"Transfer-Encoding: chunked") + chunked(b"{}"))


def two_lengths(case: Case) -> Recorded:
    return invalid(case, head("200 OK", case, length(2), length(20)) + b"{}")


def closing(case: Case) -> Recorded:
    """An answer that announces the end of its connection, with another one behind it."""
    return sized(case, "200 OK", False, sized(foreign(case)).data, b"Connection: close")


# A kind of answer by name; SOUND ones first.
SOUND: dict[str, Callable[[Case], Recorded]] = {
    "length": sized,
    "chunked": in_chunks,
    "events": lambda case: in_chunks(case, b"text/event-stream", whole_events),
    "split events": lambda case: in_chunks(case, b"text/event-stream", split_events),
    "until close": until_close,
    "204": lambda case: bodiless(case, "204 No Content"),
    "204 with length": lambda case: bodiless(case, "204 No Content", length(len(body_of(case)))),
    "304": lambda case: bodiless(case, "304 Not Modified"),
    "304 with length": lambda case: bodiless(case, "304 Not Modified", length(len(body_of(case)))),
    "304 with length 0": lambda case: bodiless(case, "304 Not Modified", length(0)),
    "404": lambda case: sized(case, "404 Not Found"),
    "429": lambda case: sized(case, "429 Too Many Requests"),
    "500": lambda case: sized(case, "500 Internal Server Error"),
    "503": lambda case: sized(case, "503 Service Unavailable"),
    "HTTP/1.0": lambda case: old_version(case),
    "HTTP/1.0, keep-alive": lambda case: old_version(case, b"Connection: keep-alive"),
    "connection: close": lambda case: sized(case, "200 OK", True, b"", b"Connection: close"),
}
UNSOUND: dict[str, Callable[[Case], Recorded]] = {
    "with body": with_body,
    "204 with body": lambda case: bodiless(case, "204 No Content", length(len(body_of(case))), after=body_of(case)),
    "304 with body": lambda case: bodiless(case, "304 Not Modified", length(len(body_of(case))), after=body_of(case)),
    "204 with chunks": lambda case: bodiless(
        case, "204 No Content", b"Transfer-Encoding: chunked", after=chunked(body_of(case))
    ),
    "503 with another": lambda case: sized(case, "503 Service Unavailable", False, sized(foreign(case)).data),
    "length too small": lambda case: wrong_length(case, -2),
    "length too large": lambda case: wrong_length(case, 30),
    "another after": lambda case: sized(case, "200 OK", False, sized(foreign(case)).data),
    "another begun after": lambda case: sized(case, "200 OK", False, sized(foreign(case)).data[:-5]),
    "twice": lambda case: sized(case, "200 OK", False, sized(case._replace(head_only=False)).data),
    "line after": lambda case: sized(case, "200 OK", False, b"\r\n"),
    "status line after": lambda case: sized(case, "200 OK", False, b"HTTP/1.1 "),
    "interim after": lambda case: sized(case, "200 OK", False, INTERIM[1]),
    "close, another after": closing,
    "chunks, another after": lambda case: _followed(in_chunks(case), sized(foreign(case)).data),
    "not HTTP": lambda case: invalid(case, b"+PONG\r\n\r\n"),
    "101": lambda case: invalid(case, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "both framings": both_framings,
    "two lengths": two_lengths,
}
KINDS = SOUND | UNSOUND


def _followed(recorded: Recorded, after: bytes) -> Recorded:
    return recorded._replace(data=recorded.data + after, sound=False)
