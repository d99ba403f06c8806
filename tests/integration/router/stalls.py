"""Programs that measure stalls, each in a process of its own: `python -m tests.integration.router.stalls NAME FILE`.

`router` is `svc router` with a greenlet in its worker that wakes every few milliseconds; `idle` is the same clock
in a process that does nothing else, so that what the machine itself delays is known; `probe` requests /livez again
and again. Each appends one line a second to FILE: the time, the worst delay, and the worst delay less the time in
which the kernel let the thread wait for a processor.
"""

import http.client
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from svc.router import serve

TICK_SECONDS = 0.005
PROBE_SECONDS = 0.02


class Stall(NamedTuple):
    """The worst of one second; all in seconds, `time` of the monotonic clock that all processes share."""

    time: float
    delay: float
    own: float


def stalls(path: Path, since: float) -> list[Stall]:
    lines = path.read_text().splitlines()
    return [stall for stall in (Stall(*map(float, line.split())) for line in lines) if stall.time > since]


class RequestRecorder:
    """Writes the worst delay of every second."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 - as long as the process
        self._second = 0
        self._worst = self._worst_own = 0.0

    def record(self, now: float, delay: float, own: float) -> None:
        self._worst, self._worst_own = max(self._worst, delay), max(self._worst_own, own)
        if int(now) != self._second:
            self._second = int(now)
            self._file.write(f"{now:.6f} {self._worst:.6f} {self._worst_own:.6f}\n")
            self._worst = self._worst_own = 0.0


def tick(path: str, sleep: Callable[[float], object]) -> None:
    recorder, delays = RequestRecorder(path), RunDelay()
    before, delayed = time.monotonic(), delays.seconds()
    while True:
        sleep(TICK_SECONDS)
        now, delayed_before = time.monotonic(), delayed
        delayed = delays.seconds()
        delay = now - before - TICK_SECONDS
        recorder.record(now, delay, delay - (delayed - delayed_before))
        before = time.monotonic()


class RunDelay:
    """The time that this thread was ready to run and did not: the kernel's /proc/PID/task/TID/schedstat."""

    def __init__(self) -> None:
        self._fd = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def seconds(self) -> float:
        return int(os.pread(self._fd, 100, 0).split()[1]) / 1e9


def probe(path: str, port: int) -> None:
    recorder = RequestRecorder(path)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        time.sleep(PROBE_SECONDS)
        before = time.monotonic()
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        now = time.monotonic()
        recorder.record(now, now - before, now - before)


class TickingWorker(serve.LateWorker):
    """The relaying worker, with the clock in a greenlet of its own."""

    path = ""

    def init_process(self) -> None:
        import gevent

        from svc.router.worker import RelayWorker

        class Ticking(RelayWorker):
            def run(self) -> None:
                gevent.spawn(tick, TickingWorker.path, gevent.sleep)
                super().run()

        self.__class__ = Ticking
        self.init_process()


def main(name: str, path: str, *arguments: str) -> None:
    if name == "idle":
        tick(path, time.sleep)
    elif name == "probe":
        probe(path, int(arguments[0]))
    else:
        from svc.cli.main import svc

        TickingWorker.path = path
        serve.LateWorker = TickingWorker  # type: ignore[misc]
        svc(["router", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
