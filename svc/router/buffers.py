"""The memory for request bodies: one bound for all of them together, and a queue for those that find no room.

Readers that wait stop reading, so that their clients wait, too. A body is counted as it arrives, not as its head
announces it: otherwise a few heads would take all the room. So several bodies may be half there when the room is
used up; that they do not wait for each other for ever, a part of the room is set aside, enough for one request of
any size. One request at a time may use it and can always finish.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from svc.errors import Overloaded, TooLarge
from svc.router.admission import Place

REFUSED_BODIES = 4  # of a request that is refused, as many largest bodies are read and thrown away
SMALL_BYTES = 64 << 10  # a body up to this size is not counted: it comes with its head, and costs the hot path nothing


class Allocation:
    """What one request has of the room."""

    __slots__ = ("_buffers", "size")

    def __init__(self, buffers: "Buffers") -> None:
        self._buffers = buffers
        self.size = 0

    def grow(self, size: int, deadline: float, stay: Callable[[Place], None]) -> None:
        """Count `size` bytes in all, as soon as there is room for them.

        `stay` is told of the place in the queue before and after each wait, and may raise. Raises Overloaded at the
        deadline, TooLarge for what never has room.
        """
        self._buffers.grow(self, size, deadline, stay)

    def shrink(self, size: int) -> None:
        """Count no more than `size` bytes."""
        if size < self.size:
            self._buffers.release(self, size)


class Buffers:
    """`limit`: bytes that all bodies may have together; `largest`: that one may have, before and after decoding."""

    def __init__(self, limit: int, largest: int) -> None:
        self.limit = limit
        self.used = 0
        self._open = limit - min(limit, 2 * largest)  # for everyone; the rest is for one request at a time
        self._finishing: Allocation | None = None  # the one that may use the rest
        self._queue: deque[Place] = deque()
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # another WSGI server may have real threads

    def grow(self, allocation: Allocation, size: int, deadline: float, stay: Callable[[Place], None]) -> None:
        if size > self.limit:
            raise TooLarge(f"the request's body is over {self.limit} bytes, which is max_buffered under [router]")
        first = not self._queue or allocation is self._finishing
        if not (first and self._take(allocation, size)):
            self._wait(allocation, size, deadline, stay)

    def release(self, allocation: Allocation, size: int) -> None:
        with self._lock:
            self.used -= allocation.size - size
            allocation.size = size
            if self.used <= self._open:
                self._finishing = None
        self._wake_first()

    def expire(self, now: float) -> None:
        """Those who have waited too long stop."""
        for place in list(self._queue):
            if place.deadline <= now:
                place.expired = True
                place.wake()

    def _take(self, allocation: Allocation, size: int) -> bool:
        with self._lock:
            more = max(0, size - allocation.size)
            if self.used + more > self._open:
                if self._finishing not in (None, allocation):
                    return False
                self._finishing = allocation
            self.used += more
            allocation.size += more
            return True

    def _wake_first(self) -> None:
        with suppress(IndexError):
            self._queue[0].wake()

    def _wait(self, allocation: Allocation, size: int, deadline: float, stay: Callable[[Place], None]) -> None:
        place = Place(deadline, next(self._numbers))
        self._queue.append(place)
        try:
            while not place.expired:
                stay(place)
                if self._queue[0] is place and self._take(allocation, size):
                    return
                place.wait()
        finally:
            self._queue.remove(place)
            self._wake_first()
        raise Overloaded(
            "the bodies of other requests take all the room that the router has for them; send the request again, "
            "or give it more: max_buffered under [router] in config/svc.toml"
        )
