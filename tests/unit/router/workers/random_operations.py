"""Processes that count at random in the same shared memory, and are killed at random; run as a program.

Each process claims and frees places at instances with limits, admits and releases API keys with limits, and may join
and leave the request queue. After each claim it checks, under the lock, that no limit is exceeded. The parent kills
processes, clears their slots and starts others. At the end every count must be zero.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from svc.base.errors import RateLimited
from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.statistics import Statistics
from svc.router.workers import shared_counts
from svc.router.workers.messages import PublishedTable, Snapshot, encode
from svc.router.workers.relay_balancer import RelayBalancer
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_keys import SharedApiKey
from svc.settings import RouterSettings
from tests.unit.router.examples import target

LIMITS = {"a": 3, "b": 5, "large": 30, "unlimited": 0}
KEY_CONCURRENCY = 4
QUEUE_SIZE = 20
FAILED = 3


def targets() -> tuple[Target, ...]:
    return tuple(
        target(name, "m" if limit else "n", metadata={"max_concurrency": limit}) for name, limit in LIMITS.items()
    )


class RandomProcess:
    """One process: what it holds, and the operations that it draws from."""

    def __init__(self, counts: SharedCounts, seed: int, joins: bool) -> None:
        settings, statistics = RouterSettings(queue_size=QUEUE_SIZE), Statistics()
        health = HealthTracker(settings, time.monotonic, statistics, EventReporter(1))
        self.counts = counts
        self.balancer = RelayBalancer(settings, time.monotonic, health, statistics, counts, lambda observation: None)
        table = msgspec.Raw(encode(PublishedTable(targets(), frozenset(LIMITS))))
        self.balancer.adopt(Snapshot(ready=True, table_number=1, table=table))
        self.key = SharedApiKey("key", counts)
        self.key.set_limits(concurrency=KEY_CONCURRENCY)
        self.draw = random.Random(seed)
        self.held: list[Target] = []
        self.waiters: list[Waiter] = []
        self.operations: list[Callable[[], None]] = [self.begin, self.end, self.admit, self.release]
        if joins:  # while a request waits, no place is claimed without the lock
            self.operations += [self.join, self.leave]

    def operate(self) -> None:
        self.draw.choice(self.operations)()

    def begin(self) -> None:
        chosen = self.balancer.pick(RoutingRequest(model=self.draw.choice("mn")))
        if chosen is not None:
            self.balancer.begin_attempt(chosen)
            self.held.append(chosen)
            with self.counts.lock:
                load = sum(self.balancer.loads.rows[chosen.name])
            assert not chosen.limit or load <= chosen.limit, f"{chosen.name}: {load} of {chosen.limit}"

    def end(self) -> None:
        if self.held:
            self.balancer.end_attempt(self.held.pop(self.draw.randrange(len(self.held))), 0.1, failed=False)

    def admit(self) -> None:
        with suppress(RateLimited):
            self.key.admit(time.monotonic())
            with self.counts.lock:
                count = sum(self.counts.row("key key"))
            assert count <= KEY_CONCURRENCY, f"key: {count}"

    def release(self) -> None:
        if self.key.in_flight:
            self.key.release()

    def join(self) -> None:
        with suppress(RateLimited):
            self.waiters.append(self.balancer.queue.join("m", 0, 1, ordered=self.draw.random() < 0.9))
            assert self.balancer.queue.waiting <= QUEUE_SIZE + sum(LIMITS.values()), "the queue is too long"

    def leave(self) -> None:
        if self.waiters:
            self.balancer.queue.leave("m", self.waiters.pop(self.draw.randrange(len(self.waiters))))

    def finish(self) -> None:
        while self.held:
            self.end()
        while self.key.in_flight:
            self.release()
        while self.waiters:
            self.leave()


def start(counts: SharedCounts, slot: int, operations: int, seed: int, joins: bool) -> int:
    """Fork a process in this slot that carries out so many operations; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    counts.slot = slot
    process = RandomProcess(counts, seed, joins)
    try:
        for _ in range(operations):
            process.operate()
        process.finish()
    except Exception as error:  # noqa: BLE001 - the parent reports it
        print(f"process {slot}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(FAILED)
    os._exit(0)


def run(processes: int, operations: int, kills: int, seed: int, joins: int) -> dict[str, object]:
    """Run this many processes with this many operations each, besides those of killed ones; return what is left.

    `joins`: whether requests also join the queue.
    """
    shared_counts.GRACE_SECONDS = 0  # each refusal would wait for it
    counts, draw = SharedCounts(processes), random.Random(seed)

    def start_in(slot: int) -> int:
        return start(counts, slot, operations, draw.random().__hash__(), bool(joins))

    running = {start_in(slot): slot for slot in range(processes)}
    failures = killed = 0
    while running:
        if killed < kills:
            time.sleep(draw.random() * 0.02)
            with suppress(ProcessLookupError):
                os.kill(draw.choice(list(running)), signal.SIGKILL)
            killed += 1
        pid, status = os.wait()
        slot = running.pop(pid)
        counts.clear(slot)
        failures += os.waitstatus_to_exitcode(status) == FAILED
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            running[start_in(slot)] = slot
    rows = ("in flight", "waiting", "unordered", "key key", "line m", "length m", *(f"instance {n}" for n in LIMITS))
    left = {name: counts.row(name).tolist() for name in rows}
    return {
        "failures": failures,
        "left": {name: row for name, row in left.items() if any(row)},
        "queue": counts.queue[0],
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:]))))
