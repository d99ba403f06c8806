"""Decodes compressed request bodies, within limits: the router reads bodies, and some engines cannot decode them."""

import time
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from svc.base.errors import BadRequest, TooLarge, UnsupportedMedia

INPUT_STEP_BYTES = 64 << 10
OUTPUT_STEP_BYTES = 256 << 10  # decoded in one step; other requests have their turn between two steps
MAX_CODINGS = 2  # limit for the codings that were applied to a body one after the other
MAX_MEMBERS = 16  # limit for the members (frames) of a gzip or zstd body (RFC 1952, 2.2; RFC 8878, 3.1)


def decode(body: bytes, codings: bytes, max_bytes: int, count: Callable[[int], None] = lambda size: None) -> bytes:
    """Return the decoded body; `codings` is the value of its Content-Encoding.

    `count` is called repeatedly with the bytes of memory that the coded and the decoded body take together.
    Raise UnsupportedMedia for an unknown coding, BadRequest for a body that cannot be decoded, and TooLarge for a
    decoded body over `max_bytes`.
    """
    listed = [name.strip() for name in codings.decode("latin-1").lower().split(",")]
    names = [name for name in listed if name not in ("", "identity")]
    if len(names) > MAX_CODINGS or any(name not in DECODERS for name in names):
        known = ", ".join(DECODERS)
        raise UnsupportedMedia(f"cannot read a body with Content-Encoding {', '.join(names)!r}; send one of {known}")
    for name in reversed(names):  # the last coding was applied last
        body = _decode(body, name, max_bytes, count)
    return body


def _decode(body: bytes, name: str, max_bytes: int, count: Callable[[int], None]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _pieces(DECODERS[name], body):
            size += len(piece)
            if size > max_bytes:
                raise TooLarge(f"the request's body is over {max_bytes} bytes when it is decoded")
            count(len(body) + size)
            pieces.append(piece)
            if len(pieces) > 1:
                time.sleep(0)
    except _failures() as error:
        raise BadRequest(f"cannot decode the body as {name}: {error}") from None
    return b"".join(pieces)


class _Decoder(Protocol):
    """The interface of Python's own decompressors (bz2, lzma, and zstd from 3.14 on)."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _pieces(make: Callable[[bytes], _Decoder], body: bytes) -> Iterator[bytes]:
    """Yield the decoded body in pieces; raise EOFError for a truncated body."""
    decoder = make(body)
    members = 1
    for start in range(0, len(body), INPUT_STEP_BYTES):
        data = body[start : start + INPUT_STEP_BYTES]
        while data or not (decoder.needs_input or decoder.eof):
            if decoder.eof:
                members += 1
                if members > MAX_MEMBERS:
                    raise EOFError(f"it has over {MAX_MEMBERS} members")
                decoder = make(data)
            yield decoder.decompress(data, OUTPUT_STEP_BYTES)
            data = decoder.unused_data if decoder.eof else b""
    if body and not decoder.eof:
        raise EOFError("it is cut off")


class _Zlib:
    """zlib's decompressor with the interface of `_Decoder`: it keeps the input that zlib has not used yet."""

    def __init__(self, window_bits: int) -> None:
        self._decoder = zlib.decompressobj(window_bits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data.lstrip(b"\0")  # padding, which Python's gzip skips as well

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length  # more output may be ready without more input
        return piece


class _Brotli:
    unused_data = b""

    def __init__(self) -> None:
        import brotli

        self._decoder = brotli.Decompressor()
        self._full = False

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    @property
    def needs_input(self) -> bool:
        return bool(self._decoder.can_accept_more_data()) and not self._full

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = bytes(self._decoder.process(data, output_buffer_limit=max_length))
        self._full = len(piece) >= max_length
        return piece


def _gzip(body: bytes) -> _Decoder:
    return _Zlib(zlib.MAX_WBITS | 16)


def _deflate(body: bytes) -> _Decoder:
    """Return a decoder for this body: zlib's format, or raw deflate, which some clients send (RFC 9110, 8.4.1.2)."""
    raw = len(body) < 2 or body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31
    return _Zlib(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)


def _zstd(body: bytes) -> _Decoder:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        from backports import zstd
    return zstd.ZstdDecompressor()


def _brotli(body: bytes) -> _Decoder:
    return _Brotli()


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that decoders raise for a body that is not in their coding."""
    import brotli

    try:
        from compression.zstd import ZstdError
    except ImportError:
        from backports.zstd import ZstdError
    return (zlib.error, EOFError, ZstdError, brotli.error)


DECODERS: dict[str, Callable[[bytes], _Decoder]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _brotli,
}
