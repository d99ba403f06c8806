"""A request that waits for memory, to test the allocators of memory for bodies with."""

import threading

from svc.router.proxy.body_buffers import Allocation


class WaitingRequest:
    """One request that allocates memory, in a thread of its own, since it may wait."""

    def __init__(self, allocation: Allocation, size: int, deadline: float = 100.0) -> None:
        self.waits = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._grow, args=(allocation, size, deadline), daemon=True)
        self._thread.start()

    def _grow(self, allocation: Allocation, size: int, deadline: float) -> None:
        try:
            allocation.grow(size, deadline, lambda waiter: self.waits.set())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def done(self, timeout: float = 5.0) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()
