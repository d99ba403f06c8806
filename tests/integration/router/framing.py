"""A strict reading of one HTTP/1.1 answer at the beginning of some bytes, also while it is incomplete. Pure."""

import re
from typing import NamedTuple

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) ([^\r\n]*)\Z")
CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,8}\Z")


class Answer(NamedTuple):
    """An answer as far as it arrived; `size` is the number of bytes that it takes of its connection."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    size: int
    whole: bool
    framing: str  # "none", "length", "chunked" or "close"

    def header(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) < 2, f"{name!r} appears {len(values)} times: {self.headers}"
        return values[0] if values else None


def read_answer(data: bytes, head_only: bool, ended: bool) -> Answer | None:
    """Return the answer at the beginning of `data`, or None while its head is incomplete.

    `head_only`: the request was a HEAD. `ended`: nothing follows `data`.
    Bytes that no answer can begin with raise AssertionError.
    """
    assert data[:9] == b"HTTP/1.1 "[: len(data)], f"no answer begins with {data[:200]!r}"
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    line, *lines = head.split(b"\r\n")
    status = STATUS_LINE.match(line)
    assert status, f"a malformed status line: {line!r}"
    assert all(b": " in header for header in lines), f"a malformed header: {lines}"
    headers = [(name, value) for name, _, value in (header.partition(b": ") for header in lines)]
    answer = Answer(int(status[1]), headers, b"", len(head) + 4, True, "none")
    if head_only or answer.status in (204, 304) or answer.status < 200:
        return answer
    return _with_body(answer, rest, ended)


def _with_body(answer: Answer, rest: bytes, ended: bool) -> Answer:
    length, coding = answer.header(b"content-length"), answer.header(b"transfer-encoding")
    assert length is None or coding is None, f"two framings: {answer.headers}"
    if length is not None:
        assert length.isdigit(), f"a malformed length: {length!r}"
        body = rest[: int(length)]
        return answer._replace(
            body=body, size=answer.size + len(body), whole=len(body) == int(length), framing="length"
        )
    if coding is not None:
        assert coding == b"chunked", f"an unknown transfer coding: {coding!r}"
        body, size, whole = read_chunks(rest)
        return answer._replace(body=body, size=answer.size + size, whole=whole, framing="chunked")
    assert answer.header(b"connection") == b"close", f"a body without an end: {answer.headers}"
    return answer._replace(body=rest, size=answer.size + len(rest), whole=ended, framing="close")


def read_chunks(data: bytes) -> tuple[bytes, int, bool]:
    """Return the body so far, the number of bytes read, and whether the last chunk is among them."""
    body, position = b"", 0
    while True:
        end = data.find(b"\r\n", position, position + 10)
        if end < 0:
            assert len(data) - position < 10, f"a malformed chunk size: {data[position : position + 20]!r}"
            return body, position, False
        assert CHUNK_SIZE.match(data[position:end]), f"a malformed chunk size: {data[position:end]!r}"
        size = int(data[position:end], 16)
        chunk = data[end + 2 : end + 2 + size]
        tail = data[end + 2 + size : end + 4 + size]
        assert tail == b"\r\n"[: len(tail)], f"a chunk of {size} bytes ends with {tail!r}"
        body += chunk
        if len(tail) < 2:
            return body, len(data), False
        position = end + 4 + size
        if size == 0:
            return body, position, True
