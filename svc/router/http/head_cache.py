"""Heads of messages, remembered: the same bytes mean the same, and need not be read twice.

What a client sends differs from its last request in the body and in the digits
of Content-Length, and so do answers. Only llhttp reads heads; here they are
recognized, and only where the message is whole in one piece.
"""

from typing import Generic, TypeVar

KEPT = 256  # heads; then all are forgotten: those that matter come again at once
LONGEST = 4 << 10  # bytes of a head that is kept
LENGTH = b"\r\ncontent-length: "
MARK = b"ength: "  # found faster than any spelling of the whole name

T = TypeVar("T")


class HeadCache(Generic[T]):
    """What was made of heads, by their bytes without the digits of their length."""

    def __init__(self) -> None:
        self._heads: dict[bytes, T] = {}

    def find(self, data: bytes) -> tuple[T, bytes] | None:
        """What was learnt of the head, and the body, where `data` is exactly one message whose head is known."""
        end = data.find(b"\r\n\r\n") + 4
        at = data.find(MARK, 0, end) + 7
        if at == 6:  # there is none
            head = self._heads.get(data)
            return None if head is None else (head, b"")
        stop = data.find(b"\r", at)
        head = self._heads.get(data[:at] + data[stop:end])
        if head is None:
            return None
        digits = data[at:stop]
        if not digits.isdigit() or len(digits) > 9 or int(digits) != len(data) - end:
            return None
        return head, data[end:]

    def learn(self, data: bytes, head: T, length: int | None) -> None:
        """`data` is one message, `head` what was made of its head, `length` of its Content-Length, if it has one."""
        end = data.find(b"\r\n\r\n") + 4
        at = data.find(MARK, 0, end) + 7
        if end > LONGEST or len(data) - end != (length or 0):
            return
        if length is None:
            if at != 6:  # the name of another header ends like ours
                return
            key = data
        elif data[at - len(LENGTH) : at].lower() == LENGTH:
            key = data[:at] + data[data.find(b"\r", at) : end]
        else:
            return
        if len(self._heads) >= KEPT:
            self._heads.clear()
        self._heads[key] = head
