"""A thousand watchers of one registry: each gets a change at once, and their waits cost no CPU."""

import os
import selectors
import socket
import time
from pathlib import Path

import pytest

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until

WATCHER_COUNT, SERVICE_COUNT = 1000, 20
IDLE_SECONDS = 5.0


@pytest.fixture
def registry(tmp_path):
    running = Registry(tmp_path, "--health-interval", "3600").start()
    yield running
    running.end()


class Watcher:
    """One connection that waits for the revision after `index`."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.index = 0
        self.received = b""

    def ask(self):
        head = f"GET /services?index={self.index}&wait=60 HTTP/1.1\r\nHost: registry\r\n\r\n"
        self.sock.sendall(head.encode())
        self.received = b""

    def read(self):
        """Read; return whether the response is complete."""
        self.received += self.sock.recv(1 << 16)
        head, _, body = self.received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields.get(b"content-length", 1 << 30)):
            return False
        self.index = int(fields[b"x-registry-index"])
        return True


def collect(watchers, timeout=30):
    """Return the seconds until each watcher had its response."""
    begun, times = time.monotonic(), []
    with selectors.DefaultSelector() as selector:
        for watcher in watchers:
            selector.register(watcher.sock, selectors.EVENT_READ, watcher)
        while selector.get_map():
            ready = selector.select(timeout)
            assert ready, f"{len(selector.get_map())} watchers got no response"
            for key, _ in ready:
                if key.data.read():
                    selector.unregister(key.fileobj)
                    times.append(time.monotonic() - begun)
    return times


def cpu_seconds(pid):
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(pid):
    """Return whether the process uses no CPU any more."""
    used = []
    wait_until(lambda: used.append(cpu_seconds(pid)) or len(used) == 5, interval=0.1)
    return used[-1] - used[0] <= 0.02


@pytest.mark.long
def test_a_thousand_watchers_get_each_change_and_cost_nothing_idle(registry):
    for n in range(SERVICE_COUNT):
        registry.client.register(registration(f"s{n}"))
    watchers = [Watcher(registry.port) for _ in range(WATCHER_COUNT)]
    for watcher in watchers:
        watcher.ask()
    collect(watchers)
    assert {w.index for w in watchers} == {SERVICE_COUNT}
    for watcher in watchers:
        watcher.ask()
    worker = registry.worker()
    wait_until(lambda: is_idle(worker), 30)
    before, begun = cpu_seconds(worker), time.monotonic()
    for n in range(SERVICE_COUNT):
        registry.client.heartbeat(f"s{n}", "running")  # wakes no watcher
    wait_until(lambda: time.monotonic() - begun >= IDLE_SECONDS)
    used = (cpu_seconds(worker) - before) / IDLE_SECONDS
    for change in ("draining", "running"):
        registry.client.heartbeat("s0", change)
        times = sorted(collect(watchers))
        assert len(times) == WATCHER_COUNT
        print(f"{change}: the median after {times[500] * 1000:.0f} ms, the last after {times[-1] * 1000:.0f} ms")
        for watcher in watchers:
            watcher.ask()
    assert {w.index for w in watchers} == {SERVICE_COUNT + 2}
    print(f"while they waited: {used:.1%} of a core")
    assert used < 0.05
    assert times[-1] < 3
    for watcher in watchers:
        watcher.sock.close()
