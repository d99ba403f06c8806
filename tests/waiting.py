"""Waiting for the thing itself, with a deadline; and ports that are free."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

T = TypeVar("T")

# Below the ports that the kernel gives to outgoing connections: one of those could take it meanwhile.
# Each of pytest's processes has a part of them for itself.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SHARE = 12000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(20000 + WORKER * SHARE, 20000 + (WORKER + 1) * SHARE - 1)
GIVEN: set[int] = set()


def wait_until(condition: Callable[[], T], timeout: float = 10, description: str = "", interval: float = 0.05) -> T:
    """Return the first true value of `condition`; fail the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {description or condition}")
        pause.wait(interval)


def free_port() -> int:
    """None twice, as long as there are others."""
    return next(_ports(1))


def free_port_pair() -> int:
    """A port that is free together with the one after it (an instance's and its babysitter's)."""
    return next(_ports(2))


def _ports(count: int) -> Iterator[int]:
    while True:
        port = random.choice(PORTS)
        wanted = set(range(port, port + count))
        if not wanted & GIVEN and all(map(is_free, wanted)):
            GIVEN.update(wanted)
            yield port
        elif len(GIVEN) > len(PORTS) // 2:
            GIVEN.clear()


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers in TIME_WAIT takes no port
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def ipv6() -> None:
    """Skips the test where this machine has no IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


def other_address() -> str:
    """An address of this machine that is not loopback's; skips the test where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return sock.getsockname()[0]
