"""Startup timeout and memory limit with a fake clock, and the memory of real processes."""

import os
import subprocess
import sys

import pytest

from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.resource_limits import MEMORY_INTERVAL_SECONDS, ResourceLimits, memory_used
from svc.babysitter.restarter import Restarter
from tests.unit.babysitter.fake_instance import FakeInstance, models
from tests.unit.instance_configs import instance_config

GIB = 1 << 30
MIB = 1 << 20
# Holds 64 MB, which its forked workers share, and prints "ready".
SHARING = """
import os, sys, time
held = b"x" * (64 << 20)
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""


class LimitedInstance(FakeInstance):
    """An instance with limits, whose memory and requests the test sets."""

    def __init__(self):
        super().__init__()
        self.monitor.config = instance_config(startup_timeout=60, max_memory=GIB)
        self.used, self.running, self.ended = GIB // 2, 0, []
        restarter = Restarter("qwen", lambda pid, reason: not self.ended.append((self.now, pid, reason)))
        self.limits = ResourceLimits(self.monitor, self.load, restarter, lambda pid, limit: self.used, lambda: self.now)

    def load(self):
        return UNKNOWN_LOAD if self.running is None else EngineLoad("engine", ("1",), self.running)

    def live(self, seconds):
        for _ in range(seconds):
            self.advance(1)
            self.limits.run_round()


@pytest.fixture
def instance():
    return LimitedInstance()


@pytest.fixture
def running(instance):
    instance.models = models("a")
    instance.live(1)
    return instance


def test_an_instance_that_is_not_ready_in_time_is_restarted(instance):
    instance.live(61)
    assert instance.ended == []
    instance.live(5)
    assert [(pid, reason) for _, pid, reason in instance.ended] == [(7, "startup: not ready within 60 s of its start")]


def test_the_startup_timeout_ends_once_the_instance_is_ready(running):
    running.live(600)
    assert running.ended == []


def test_each_process_has_its_own_startup_timeout(instance):
    for pid in range(8, 20):
        instance.process = ProcessSnapshot("RUNNING", pid)
        instance.live(50)
    assert instance.ended == []


def test_the_startup_timeout_does_not_run_between_restarts(instance):
    instance.process = ProcessSnapshot("BACKOFF")
    instance.live(600)
    assert instance.ended == []


def test_a_short_peak_of_memory_is_no_reason_to_restart(running):
    for _ in range(10):
        running.used = 2 * GIB
        running.live(2 * int(MEMORY_INTERVAL_SECONDS))
        running.used = GIB
        running.live(int(MEMORY_INTERVAL_SECONDS))
    assert running.ended == []


def test_too_much_memory_drains_the_instance_and_restarts_it_when_idle(running):
    running.running, running.used = 2, 2 * GIB
    running.live(3 * int(MEMORY_INTERVAL_SECONDS))
    assert running.monitor.snapshot.state is LifecycleState.DRAINING
    running.live(10)
    assert running.ended == []
    running.running = 0
    running.live(1)
    assert [(pid, reason) for _, pid, reason in running.ended] == [
        (7, "memory: 2 GiB used, and 1 GiB is the limit"),
    ]


def test_requests_in_progress_delay_the_restart_for_30_seconds_at_most(running):
    running.running, running.used = 2, 2 * GIB
    began = running.now
    running.live(60)
    assert 30 <= running.ended[0][0] - began <= 30 + 3 * MEMORY_INTERVAL_SECONDS + 2


def test_an_unknown_load_delays_the_restart_for_the_full_30_seconds(running):
    running.running, running.used = None, 2 * GIB
    began = running.now
    running.live(60)
    assert running.ended[0][0] - began >= 30


def test_an_instance_that_is_stopped_while_it_drains_is_not_restarted(running):
    running.running, running.used = 2, 2 * GIB
    running.live(3 * int(MEMORY_INTERVAL_SECONDS))
    running.process = ProcessSnapshot("STOPPING", 7)
    running.live(60)
    assert running.ended == []
    assert running.monitor.snapshot.state is LifecycleState.DRAINING


@pytest.fixture
def sharing():
    """Return a function that starts a process with so many workers, in its own process group, as supervisord does."""
    started = []

    def start(workers):
        process = subprocess.Popen(
            [sys.executable, "-c", SHARING, str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=os.setpgrp,
        )
        started.append(process)
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()


def test_memory_that_a_process_shares_with_its_workers_counts_once(sharing):
    pid = sharing(3)
    assert memory_used(pid, limit=1 << 40) > 4 * 64 * MIB  # the upper bound, which is cheap
    assert 64 * MIB < memory_used(pid, limit=128 * MIB) < 128 * MIB


def test_a_process_that_has_ended_uses_no_memory():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory_used(process.pid, limit=1) == 0


def test_an_engine_that_sleeps_is_left_alone_and_has_its_whole_time_to_wake(running):
    running.live(100)
    running.used, running.sleeping, running.models = 2 * GIB, True, []  # its weights are in the host's memory
    running.live(200)
    assert running.monitor.snapshot.state is LifecycleState.ASLEEP
    assert running.ended == []
    running.used = GIB // 2
    stage = running.monitor.snapshot.process_stage
    running.sleeping = False
    running.monitor.apply(LifecycleEvent.WAKES, stage)
    running.live(59)
    assert running.ended == []
    running.live(5)
    assert "not ready within 60 s" in running.ended[0][2]
