"""Polls the connections of running event streams, a bounded number at a time, so that new requests have their turn.

gevent's loop calls the readers of all descriptors that are ready, however many, before it looks for others. With 1,000
running streams, a new request would wait behind up to 1,000 events at each of its steps: accept, read, connect, answer.
So if over MAX_LOOP_EVENTS streams are ready at once, the others move to an epoll of their own. That epoll is one
descriptor of the loop, with a lower priority than those of requests:

    loop --- listening sockets, clients, instances that have not begun to answer; streams, if few are ready at once
      '----- epoll --- streams, MAX_EVENTS at a time

At light load, a second epoll would cost 2 us per event. So streams return to the loop if few are ready for a while.
"""

import select
from collections.abc import Callable

from gevent import get_hub, monkey

MAX_LOOP_EVENTS = 128  # events of streams that the loop reads before it looks at new requests, which takes up to 2 ms
MAX_EVENTS = 64  # number of events that are read from the epoll before the loop looks at new requests
FEW_EVENTS = 4  # if at most this many streams are ready at once, the load is light
CALM_RUNS = 200  # rounds at light load before streams return to the loop: a move costs as much as an event
READ = 1
LOW_PRIORITY = -1  # lower than that of the loop's other descriptors, which is 0


class StreamPoll:
    """Calls a function for each descriptor that is ready to be read, in gevent's hub.

    `pause` costs nothing: a paused descriptor is removed from the epoll when it is next reported.
    """

    __slots__ = ("_calm_runs", "_epoll", "_functions", "_iteration", "_loop", "_registered", "_streams", "_watcher")

    def __init__(self) -> None:
        self._epoll: select.epoll = monkey.get_original("select", "epoll")()
        self._functions: dict[int, tuple[Callable[[], object], Callable[[], object]]] = {}
        self._registered: set[int] = set()
        self._iteration = self._streams = self._calm_runs = 0
        self._loop = get_hub().loop
        self._watcher = self._loop.io(self._epoll.fileno(), READ, ref=False, priority=LOW_PRIORITY)
        self._watcher.start(self._run)

    def is_busy(self) -> bool:
        """Count a stream that the loop has found ready; return whether it has found too many in this iteration."""
        iteration = self._loop.iteration
        if iteration != self._iteration:
            self._iteration, self._streams = iteration, 0
        self._streams += 1
        return self._streams > MAX_LOOP_EVENTS

    def start(self, descriptor: int, read: Callable[[], object], leave: Callable[[], object]) -> None:
        """Call `read` whenever the descriptor is ready, or `leave` once if few others have been ready for a while."""
        self._functions[descriptor] = read, leave
        if descriptor not in self._registered:
            self._registered.add(descriptor)
            self._epoll.register(descriptor, select.EPOLLIN)

    def pause(self, descriptor: int) -> None:
        """Call no function of this descriptor until the next `start`."""
        self._functions.pop(descriptor, None)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor, which must be open: once it is closed, its number may be that of another connection."""
        self._functions.pop(descriptor, None)
        if descriptor in self._registered:
            self._registered.discard(descriptor)
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        self._epoll.close()

    def _run(self) -> None:
        ready = self._epoll.poll(0, MAX_EVENTS)
        self._calm_runs = self._calm_runs + 1 if len(ready) < FEW_EVENTS else 0
        leaves = self._calm_runs > CALM_RUNS
        for descriptor, _ in ready:
            functions = self._functions.get(descriptor)
            if functions is None:
                self.remove(descriptor)
            else:
                functions[leaves]()
