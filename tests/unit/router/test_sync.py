import logging

import pytest

from svc.errors import Unavailable
from svc.router.sync import Sync
from tests.unit.router.made import Clock, service, state, target


class Listing:
    """A registry's client that lists what it is told to; None: no registry answers."""

    def __init__(self, *services: object) -> None:
        self.services: list[object] | None = list(services)
        self.index = 5

    def listing(self):
        if self.services is None:
            raise Unavailable("cannot reach the registry: connection refused")
        return self.services, self.index


class World:
    def __init__(self, *static, listing: Listing | None = None) -> None:
        self.clock = Clock()
        self.client = listing
        self.state = state(registry_sync_interval=10, service_removal_grace_period=60)
        self.state.table = type(self.state.table)()
        self.sync = Sync(self.state, listing, list(static), self.clock)

    def look(self, *services: object, index: int | None = None, after: float = 10) -> list[str]:
        self.clock.now += after
        if services and self.client:
            self.client.services = list(services)
        if index is not None:
            self.client.index = index
        self.sync.once()
        return [t.name for t in self.state.table.targets]


A, B = service("a", "m"), service("b", "m")


def test_a_deletion_holds_at_once():
    world = World(listing=Listing(A, B))
    assert world.look() == ["a", "b"]
    assert world.look(A, index=6) == ["a"]


def test_what_vanishes_when_the_index_goes_back_is_kept_for_the_grace():
    world = World(listing=Listing(A, B))
    world.look(index=5)
    assert world.look(A, index=1) == ["a", "b"]
    assert world.look(A, index=2, after=50) == ["a", "b"]
    assert world.look(A, index=2, after=10) == ["a"]


def test_what_comes_back_within_the_grace_is_as_others_again():
    world = World(listing=Listing(A, B))
    world.look(index=5)
    world.look(A, index=1)
    assert world.look(A, B, index=2) == ["a", "b"]
    assert world.look(A, index=3) == ["a"]


def test_the_states_of_those_listed_hold_at_once():
    world = World(listing=Listing(A, B))
    world.look()
    for status in ("draining", "failed", "stopped"):
        world.look({**A, "status": status}, B)
        assert world.state.table.candidates == {"b"}
    world.look(A, {**B, "drained": True})
    assert world.state.table.candidates == {"a"}


def test_the_table_stays_while_no_registry_answers(caplog: pytest.LogCaptureFixture):
    world = World(listing=Listing(A))
    world.look()
    world.client.services = None
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            assert world.look(after=1) == ["a"]
        world.client.services = [A]
        world.look(after=1)
    assert [r.message for r in caplog.records] == [
        "cannot reach the registry: connection refused; keeping the 1 instances last known",
        "the registry is back",
    ]


def test_a_registry_is_looked_at_when_it_is_time_and_each_second_while_it_is_away():
    world = World(listing=Listing(A))
    world.look()
    world.client.services = [A, B]
    assert world.look(after=9.9) == ["a"]
    assert world.look(after=0.1) == ["a", "b"]
    world.client.services = None
    world.look()
    world.client.services = [A]
    assert world.look(after=1) == ["a"]


def test_it_is_ready_with_the_first_list():
    world = World(listing=Listing())
    world.client.services = None
    world.look()
    assert not world.state.ready
    world.client.services = []
    world.look(after=1)
    assert world.state.ready


def test_static_services_need_no_registry_and_give_way_to_those_of_the_same_name():
    alone = World(target("s", "m", static=True))
    assert alone.look() == ["s"]
    assert alone.state.ready
    world = World(target("a", "other", static=True), target("s", "m", static=True), listing=Listing())
    world.client.services = None
    assert world.look() == ["a", "s"]
    assert world.state.ready
    world.client.services = [A]
    assert world.look(after=1) == ["a", "s"]
    assert set(world.state.table.by_model) == {"m"}
    world.client.services = []
    assert world.look(index=9) == ["a", "s"]
    assert set(world.state.table.by_model) == {"other", "m"}


def test_entries_that_cannot_be_used_are_told_once(caplog: pytest.LogCaptureFixture):
    bad = ({"name": "x"}, {**A, "name": "y", "port": "1"}, {**A, "name": "z", "url": "ftp://h"}, "text", None, 7)
    world = World(listing=Listing(A, *bad))
    for _ in range(3):
        assert world.look() == ["a"]
    said = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(said) == len(bad)
    assert all("cannot be used" in line for line in said)
    world.look(A)
    world.look(A, *bad)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 2 * len(bad)


def test_babysitters_are_left_out_in_silence(caplog: pytest.LogCaptureFixture):
    assert World(listing=Listing({**A, "metadata": {"type": "babysitter"}})).look() == []
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]
