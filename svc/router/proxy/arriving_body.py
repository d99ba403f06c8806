"""The body of a request whose head has arrived. A part of the body is read only after memory was allocated for it."""

import math

from svc.router.balance.request_queue import Waiter
from svc.router.proxy.body_buffers import PROGRESS_BYTES
from svc.router.proxy.exchange import Exchange

READ_TIMEOUT_SECONDS = 60.0  # limit for a whole request to arrive, not counting the time spent waiting for memory


class ArrivingBody:
    """An arriving body: the exchange of its request, its waiter in the queue for memory, and its progress."""

    __slots__ = ("_progress_at", "_progress_bytes", "_waited_seconds", "client_left", "exchange", "waiter")

    def __init__(self, exchange: Exchange, now: float) -> None:
        self.exchange = exchange
        self.waiter: Waiter | None = None
        self.client_left = False
        self._waited_seconds = 0.0  # how long the body has waited for memory
        self._progress_at = now  # when the body last made progress
        self._progress_bytes = 0  # how many bytes of the body had arrived at `_progress_at`

    def allocate(self, size: int, received: int) -> float:
        """Allocate memory for `size` bytes in all, of which `received` have arrived; return the seconds spent waiting.

        Raise SvcError if no memory becomes free in time, ConnectionResetError if the client leaves during the wait.
        """
        state = self.exchange.state
        began = state.now
        self.exchange.allocate(size, began + READ_TIMEOUT_SECONDS - self._waited_seconds, self._on_wait)
        self.waiter = None
        waited = state.now - began
        self._waited_seconds += waited
        if waited or received >= self._progress_bytes + PROGRESS_BYTES:
            self._progress_bytes, self._progress_at = received, state.now
        return waited

    def leave_queue(self) -> None:
        """Wake the greenlet that waits for memory. It raises ConnectionResetError, because the connection is ending."""
        if self.waiter is not None:
            self.client_left = True
            self.waiter.wake()

    @property
    def size(self) -> int:
        """The number of bytes that are allocated for the body."""
        return self.exchange.allocation.size if self.exchange.allocation is not None else 0

    @property
    def stalled_since(self) -> float:
        """The time at which the body last made progress; inf while it waits for memory, or has none allocated."""
        return math.inf if self.waiter is not None or not self.size else self._progress_at

    def _on_wait(self, waiter: Waiter) -> None:
        self.waiter = waiter
        if self.client_left:
            raise ConnectionResetError
