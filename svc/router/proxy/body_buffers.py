"""The memory for request bodies: one limit for all bodies together, and a queue for requests beyond the limit.

The router does not read from a connection that waits in the queue, so that its client waits too (backpressure). A body
is counted as it arrives, not by its Content-Length: otherwise a few heads would reserve all the memory. So several
bodies may be incomplete when the limit is reached. To prevent a deadlock between them, a reserve is kept that is enough
for one request of any size. Only one request at a time may use the reserve, so that request can always finish.
"""

import ctypes
import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

from svc.base.errors import Overloaded, TooLarge
from svc.perimeter.connections import network
from svc.router.balance.request_queue import Waiter

RESERVE_BODIES = 2  # size of the reserve in units of `max_body`: a coded and a decoded body may both be in memory
DISCARD_LIMIT_BODIES = 4  # in units of `max_body`: how much of a refused request is read and discarded
STALLED_SECONDS = 5.0  # an arriving body must make progress within this time while other requests wait for memory
PROGRESS_BYTES = 64 << 10  # arrived bytes that count as progress: usual connections need less than STALLED_SECONDS
LARGE_BYTES = 1 << 20  # a body over this size takes long to parse or copy, and is freed as soon as it is not needed
SMALL_BYTES = 64 << 10  # a body up to this size is not counted: it arrives with its head, and the hot path stays cheap

# For glibc's mallopt(3). To return the memory of each body to the kernel takes a third of the CPU time at 1 MB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM_THRESHOLD_BYTES = 32 << 20  # glibc returns free memory at the end of the heap only if there is more than this
MMAP_THRESHOLD_BYTES = 4 << 20  # from this size on, glibc returns an allocation as soon as it is freed


class BufferedBody(Protocol):
    @property
    def address(self) -> str: ...

    @property
    def buffered_bytes(self) -> int: ...

    @property
    def stalled_since(self) -> float: ...  # time of its last progress; inf while the body itself waits for memory


B = TypeVar("B", bound=BufferedBody)


def select_stalled(bodies: Iterable[B], now: float) -> B | None:
    """Return the stalled body to abort while other requests wait for memory; None if no body is stalled.

    The body is chosen from the client network whose bodies take the most bytes.
    """
    sizes: Counter[str] = Counter()
    stalled = []
    for body in bodies:
        if not body.buffered_bytes:
            continue
        sizes[network(body.address)] += body.buffered_bytes
        if now - body.stalled_since >= STALLED_SECONDS:
            stalled.append(body)
    return max(stalled, key=lambda body: (sizes[network(body.address)], body.buffered_bytes), default=None)


def keep_freed_memory() -> None:
    """Have the process keep the memory of freed bodies for the next ones, if its C library is glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


class Allocation:
    """The memory that one request has allocated; `size` is its number of bytes."""

    __slots__ = ("_buffers", "size")

    def __init__(self, buffers: "BodyBuffers") -> None:
        self._buffers = buffers
        self.size = 0

    def grow(self, size: int, deadline: float, on_wait: Callable[[Waiter], None]) -> None:
        """Allocate `size` bytes in all; wait in the queue while the limit does not allow it.

        `on_wait` is called with the waiter before and after each wait, and may raise. Raise Overloaded if the deadline
        passes, TooLarge if the size is over the limit of all bodies.
        """
        self._buffers.grow(self, size, deadline, on_wait)

    def shrink(self, size: int) -> None:
        """Release all but `size` bytes."""
        if size < self.size:
            self._buffers.release(self, size)


class BodyBuffers:
    """The allocator of memory for bodies. `limit`: bytes of all bodies together; `max_body`: bytes of one body.

    `max_body` applies to a body as it was sent, and again to the decoded body.
    """

    def __init__(self, limit: int, max_body: int) -> None:
        self.limit = limit
        self.used = 0
        self._shared_bytes = max(0, limit - RESERVE_BODIES * max_body)  # the rest of the limit is the reserve
        self._reserve_holder: Allocation | None = None
        self._queue: deque[Waiter] = deque()
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # another WSGI server may have real threads

    def grow(self, allocation: Allocation, size: int, deadline: float, on_wait: Callable[[Waiter], None]) -> None:
        if size > self.limit:
            raise TooLarge(f"the request's body is over {self.limit} bytes, which is max_buffered under [router]")
        first = not self._queue or allocation is self._reserve_holder
        if not (first and self._take(allocation, size)):
            self._wait(allocation, size, deadline, on_wait)

    def release(self, allocation: Allocation, size: int) -> None:
        with self._lock:
            self.used -= allocation.size - size
            allocation.size = size
            if self.used <= self._shared_bytes:
                self._reserve_holder = None
        self._wake_first()

    @property
    def contended(self) -> bool:
        """Whether a request waits for memory."""
        return bool(self._queue)

    def expire(self, now: float) -> None:
        """End the waits whose deadline has passed."""
        for waiter in list(self._queue):
            if waiter.deadline <= now:
                waiter.expired = True
                waiter.wake()

    def _take(self, allocation: Allocation, size: int) -> bool:
        with self._lock:
            more = max(0, size - allocation.size)
            if self.used + more > self._shared_bytes:
                if self._reserve_holder not in (None, allocation):
                    return False
                self._reserve_holder = allocation
            self.used += more
            allocation.size += more
            return True

    def _wake_first(self) -> None:
        if self._queue:  # checked first: to raise IndexError at each release would cost more than the release
            with suppress(IndexError):
                self._queue[0].wake()

    def _wait(self, allocation: Allocation, size: int, deadline: float, on_wait: Callable[[Waiter], None]) -> None:
        waiter = Waiter(deadline, next(self._numbers))
        self._queue.append(waiter)
        try:
            while not waiter.expired:
                on_wait(waiter)
                if self._queue[0] is waiter and self._take(allocation, size):
                    return
                waiter.wait()
        finally:
            self._queue.remove(waiter)
            self._wake_first()
        raise Overloaded(
            "the bodies of other requests use all the memory that the router has for them; send the request again, "
            "or raise max_buffered under [router] in config/svc.toml"
        )
