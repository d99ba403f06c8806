"""The processes of a router with several of them, and an instance that holds requests."""

import os
import re
import signal
import threading

from tests.integration.router.instance import OK, Peer, ReceivedRequest
from tests.integration.router.routers import Router
from tests.waiting import wait_until

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CONTROL = re.compile(r"this is the control process \(pid (\d+)\)")


def control_process(own: Router) -> int:
    """Return the pid of the control process, the newest one that has started."""
    return int(CONTROL.findall(own.output())[-1])


def relaying_processes(own: Router) -> list[int]:
    """Return the pids of the processes that relay."""
    return sorted(set(own.processes()) - {control_process(own)})


def kill(own: Router, pid: int) -> None:
    """Kill a process of the router, and wait until gunicorn has started another one in its place."""
    before = set(relaying_processes(own)) | {control_process(own)}
    os.kill(pid, signal.SIGKILL)

    def is_replaced() -> bool:
        now = set(relaying_processes(own)) | {control_process(own)}
        return pid not in now and len(now) == len(before)

    wait_until(is_replaced, description="another process")


def post(number: int = 0, model: str = "m") -> bytes:
    body = b'{"model": "%b", "messages": [%d]}' % (model.encode(), number)
    return CHAT + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Gate:
    """A script that holds requests until they are let through, and notes the order in which they came."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.in_flight = self.most = 0
        self._lock = threading.Lock()
        self._places = threading.Semaphore(0)

    def __call__(self, peer: Peer, received: ReceivedRequest) -> None:
        with self._lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            self.numbers.append(int(received.body.partition(b"[")[2].partition(b"]")[0]))
        self._places.acquire(timeout=30)
        with self._lock:
            self.in_flight -= 1
        peer.send(OK)

    def let_through(self, count: int = 1) -> None:
        self._places.release(count)
