"""A cache of parsed message heads: equal bytes have equal meaning and need not be parsed twice. Pure.

Successive requests of a client usually differ only in the body and in the digits of Content-Length; so do responses.
Only llhttp parses heads. The cache recognizes a head by its bytes, and only if the whole head arrives in one piece. The
body may be incomplete, but no bytes may follow the message.
"""

from typing import Generic, TypeVar

MAX_CACHED_HEADS = 256  # a full cache is cleared; frequent heads are soon in it again
MAX_CACHED_HEAD_BYTES = 4 << 10
MAX_CACHED_LENGTH_DIGITS = 9  # limit for the digits of a Content-Length
CONTENT_LENGTH_PREFIX = b"\r\ncontent-length: "
LENGTH_MARK = b"ength: "  # the end of the name Content-Length, which is the same in all its usual spellings

T = TypeVar("T")


class HeadCache(Generic[T]):
    """A map from the bytes of a head, without the digits of its Content-Length, to the parsed head."""

    def __init__(self) -> None:
        self._heads: dict[bytes, T] = {}

    def find(self, data: bytes) -> tuple[T, int, int] | None:
        """Return the parsed head, the position of the body in `data`, and the number of missing bytes of the body.

        Return None unless `data` is one message whose head is cached, or the beginning of such a message.
        """
        end = data.find(b"\r\n\r\n") + 4
        at = data.find(LENGTH_MARK, 0, end) + 7
        if at == 6:  # `find` returned -1: no Content-Length
            head = self._heads.get(data)
            return None if head is None else (head, end, 0)
        stop = data.find(b"\r", at)
        head = self._heads.get(data[:at] + data[stop:end])
        if head is None:
            return None
        digits = data[at:stop]
        if not digits.isdigit() or len(digits) > MAX_CACHED_LENGTH_DIGITS:
            return None
        missing = int(digits) - len(data) + end
        return (head, end, missing) if missing >= 0 else None

    def add(self, data: bytes, head: T, length: int | None) -> None:
        """Add the parsed head with which `data` begins; `length`: its Content-Length, None if it has none.

        `data` contains nothing after the message, but a part of the body may be missing.
        """
        end = data.find(b"\r\n\r\n") + 4
        at = data.find(LENGTH_MARK, 0, end) + 7
        if end > MAX_CACHED_HEAD_BYTES or len(data) - end > (length or 0):
            return
        if length is None:
            if at != 6:  # there is no Content-Length, but another header whose name ends in "ength"
                return
            key = data
        elif data[:at].lower().endswith(CONTENT_LENGTH_PREFIX):
            key = data[:at] + data[data.find(b"\r", at) : end]
        else:
            return
        if len(self._heads) >= MAX_CACHED_HEADS:
            self._heads.clear()
        self._heads[key] = head
