"""Waiting for a condition with a deadline, and free ports."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

T = TypeVar("T")

# Below the ports that the kernel gives to outgoing connections, which could take one meanwhile.
# Each of pytest's processes has its own part of the range.
WORKER_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS_PER_WORKER = 12000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(20000 + WORKER_NUMBER * PORTS_PER_WORKER, 20000 + (WORKER_NUMBER + 1) * PORTS_PER_WORKER - 1)
USED_PORTS: set[int] = set()

MAX_INTERVAL_SECONDS = 0.5  # between two calls of a condition that takes long, such as a command of svc


def wait_until(
    condition: Callable[[], T],
    timeout: float = 10,
    description: str | Callable[[], str] = "",
    interval: float = 0.05,
) -> T:
    """Return the first true value of `condition`; fail the test after `timeout` seconds.

    `description` is what is waited for. A function is called only if the test fails. A condition that takes long is
    called less often than each `interval` seconds: what is waited for needs the cores, too.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > deadline:
            text = description() if callable(description) else description
            raise AssertionError(f"not within {timeout} s: {text or condition}")
        pause.wait(max(interval, min(3 * (now - began), MAX_INTERVAL_SECONDS)))


def free_port() -> int:
    """Return a free port; no port is returned twice while there are others."""
    return next(_ports(1))


def free_port_pair() -> int:
    """Return a port that is free together with the next one: for an instance and its babysitter."""
    return next(_ports(2))


def _ports(count: int) -> Iterator[int]:
    while True:
        port = random.choice(PORTS)
        ports = set(range(port, port + count))
        if not ports & USED_PORTS and all(map(is_free, ports)):
            USED_PORTS.update(ports)
            yield port
        elif len(USED_PORTS) > len(PORTS) // 2:
            USED_PORTS.clear()


def is_free(port: int) -> bool:
    """Return whether a server can listen on the port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT takes no port
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def ipv6() -> None:
    """Skip the test where this machine has no IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")


def other_address() -> str:
    """Return an address of this machine that is not a loopback address; skip the test where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has only loopback addresses")
        return sock.getsockname()[0]
