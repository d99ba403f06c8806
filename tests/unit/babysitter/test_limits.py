"""Ready in time, and memory: second by second, with no process and no clock."""

import pytest

from svc.babysitter.health_rules import NOTHING, Reading
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import State
from svc.babysitter.limits import MEMORY_EVERY, Limits
from svc.babysitter.restarter import Remedy
from tests.unit.babysitter.test_monitor import World, models
from tests.unit.instance_configs import instance_config

GIB = 1 << 30


class Limited(World):
    """An instance under the test's hand, with limits."""

    def __init__(self):
        super().__init__()
        self.sitter.config = instance_config(startup_timeout=60, max_memory=GIB)
        self.used, self.running, self.ended = GIB // 2, 0, []
        remedy = Remedy("qwen", lambda pid, reason: not self.ended.append((self.now, pid, reason)))
        self.limits = Limits(self.sitter, self.reading, remedy, lambda pid, limit: self.used, lambda: self.now)

    def reading(self):
        return NOTHING if self.running is None else Reading("engine", ("1",), self.running)

    def live(self, seconds):
        for _ in range(seconds):
            self.turn(1)
            self.limits.round()


@pytest.fixture
def world():
    return Limited()


@pytest.fixture
def running(world):
    world.models = models("a")
    world.live(1)
    return world


def test_one_that_is_not_ready_in_time_is_restarted(world):
    world.live(61)
    assert world.ended == []
    world.live(5)
    assert [(pid, reason) for _, pid, reason in world.ended] == [(7, "startup: not ready within 60 s of its start")]


def test_one_that_is_ready_in_time_has_no_more_to_fear(running):
    running.live(600)
    assert running.ended == []


def test_each_process_has_its_own_time(world):
    for pid in range(8, 20):
        world.sighting = Sighting("RUNNING", pid)
        world.live(50)
    assert world.ended == []


def test_a_wait_for_the_next_restart_is_no_start(world):
    world.sighting = Sighting("BACKOFF")
    world.live(600)
    assert world.ended == []


def test_a_peak_of_memory_is_none(running):
    for _ in range(10):
        running.used = 2 * GIB
        running.live(2 * int(MEMORY_EVERY))
        running.used = GIB
        running.live(int(MEMORY_EVERY))
    assert running.ended == []


def test_one_that_keeps_too_much_gets_nothing_new_and_is_ended_when_it_serves_nothing(running):
    running.running, running.used = 2, 2 * GIB
    running.live(3 * int(MEMORY_EVERY))
    assert running.sitter.picture.state is State.DRAINING
    running.live(10)
    assert running.ended == []
    running.running = 0
    running.live(1)
    assert [(pid, reason) for _, pid, reason in running.ended] == [
        (7, "memory: 2 GiB used, and 1 GiB is the limit"),
    ]


def test_begun_requests_do_not_get_for_ever(running):
    running.running, running.used = 2, 2 * GIB
    began = running.now
    running.live(60)
    assert 30 <= running.ended[0][0] - began <= 30 + 3 * MEMORY_EVERY + 2


def test_where_nobody_counts_requests_it_gets_all_of_the_time(running):
    running.running, running.used = None, 2 * GIB
    began = running.now
    running.live(60)
    assert running.ended[0][0] - began >= 30


def test_one_that_is_stopped_by_hand_meanwhile_is_not_restarted(running):
    running.running, running.used = 2, 2 * GIB
    running.live(3 * int(MEMORY_EVERY))
    running.sighting = Sighting("STOPPING", 7)
    running.live(60)
    assert running.ended == []
    assert running.sitter.picture.state is State.DRAINING
