"""What a heartbeat costs the registry, beside a server that only answers it with fixed bytes, in the same run."""

import socket
import statistics
import subprocess
import sys
import time
from collections import deque

import pytest

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import free_port, wait_until

ROUNDS = 7
HEARTBEATS_PER_ROUND = 300
INTERVAL_SECONDS = 0.001  # of a large fleet
MAX_OPEN = 40  # a heartbeat is answered within some intervals
BODY = b'{"status":"running"}'
HEAD = (
    b"POST /services/qwen/heartbeat HTTP/1.1\r\nHost: localhost\r\nUser-Agent: python-requests/2.32.5\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nAuthorization: Bearer word\r\n"
    b"Content-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(BODY)
)


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "token").write_text("word\n")
    running = Registry(tmp_path, "--token-file", "token", "--loopback-needs-token").start()
    running.client.token_file = str(tmp_path / "token")
    running.client.register(registration())
    yield running
    running.end()


@pytest.fixture
def plain_server():
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tests.integration.registry.plain_server", str(port)]) as process:
        wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), description="the server listens")
        yield process.pid, port
        process.kill()


def cpu_seconds(pid: int, port: int) -> float:
    """Return the CPU time of a process for heartbeats, each on its own connection, in two parts, as babysitters do."""
    clock = (~pid << 3) | 2  # as clock_getcpuclockid(3)
    began, due = time.clock_gettime(clock), time.monotonic()
    connections: deque[socket.socket] = deque()
    for number in range(HEARTBEATS_PER_ROUND + MAX_OPEN):
        if number < HEARTBEATS_PER_ROUND:
            connections.append(socket.create_connection(("127.0.0.1", port), 10))
            connections[-1].sendall(HEAD)
            connections[-1].sendall(BODY)
        if number >= MAX_OPEN:
            with connections.popleft() as oldest:
                assert oldest.recv(4096).startswith(b"HTTP/1.1 200 ")
        due += INTERVAL_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
    return time.clock_gettime(clock) - began


def test_a_heartbeat_costs_little_more_than_an_answer_of_a_plain_server(registry, plain_server):
    """The ratio is 1.1; it was 2.2 when each heartbeat had a greenlet and a transaction of its own."""
    ratios = [cpu_seconds(registry.worker(), registry.port) / cpu_seconds(*plain_server) for _ in range(ROUNDS)]
    assert statistics.median(ratios) < 1.5, ratios
