import logging

import msgspec
import pytest

from svc.base.errors import Unavailable
from svc.client.registry import ServiceList
from svc.router.balance.routing_table import Origin
from svc.router.sources.table_cache import CachedTable
from svc.router.sources.table_sync import TableSync
from tests.unit.router.examples import Clock, service, state, target


class Client:
    """A client of a fake registry that lists `services`; None: no registry answers."""

    def __init__(self, *services: object) -> None:
        self.services: list[object] | None = list(services)
        self.index: int | None = 5
        self.url = "http://r"
        self.waits: list[float] = []

    def list_services(self, index: int | None = None, wait: float = 0) -> ServiceList:
        self.waits.append(wait)
        if self.services is None:
            raise Unavailable("cannot reach the registry: connection refused")
        entries = [msgspec.Raw(msgspec.json.encode(one)) for one in self.services]
        return ServiceList(entries, self.index, self.url)


class World:
    def __init__(self, *static, listing: Client | None = None, saved: CachedTable | None = None) -> None:
        self.clock = Clock()
        self.client = listing
        self.state = state(registry_sync_interval=10, service_removal_grace_period=60)
        self.state.balancer.table = type(self.state.balancer.table)()
        self.state.clock = self.clock
        self.sync = TableSync(self.state, listing, list(static), self.clock, saved)

    def look(self, *services: object, index: int | None = None, after: float = 10) -> list[str]:
        self.clock.now += after
        if services and self.client:
            self.client.services = list(services)
        if index is not None:
            self.client.index = index
        self.pause = self.sync.run_round()
        return [t.name for t in self.state.balancer.table.targets]


A, B = service("a", "m"), service("b", "m")


def test_a_deletion_applies_at_once():
    world = World(listing=Client(A, B))
    assert world.look() == ["a", "b"]
    assert world.look(A, index=6) == ["a"]


def test_instances_are_kept_for_the_grace_period_when_the_index_goes_back():
    world = World(listing=Client(A, B))
    world.look(index=5)
    assert world.look(A, index=1) == ["a", "b"]
    assert world.look(A, index=2, after=50) == ["a", "b"]
    assert world.look(A, index=2, after=10) == ["a"]


def test_an_instance_that_returns_within_the_grace_period_is_deleted_again():
    world = World(listing=Client(A, B))
    world.look(index=5)
    world.look(A, index=1)
    assert world.look(A, B, index=2) == ["a", "b"]
    assert world.look(A, index=3) == ["a"]


def test_the_status_of_a_listed_instance_applies_at_once():
    world = World(listing=Client(A, B))
    world.look()
    for status in ("draining", "failed", "stopped"):
        world.look({**A, "status": status}, B)
        assert world.state.balancer.table.candidates == {"b"}
    world.look(A, {**B, "drained": True})
    assert world.state.balancer.table.candidates == {"a"}


def test_the_table_is_kept_while_no_registry_answers(caplog: pytest.LogCaptureFixture):
    world = World(listing=Client(A))
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


def test_the_registry_is_tried_often_while_it_is_away():
    world = World(listing=Client(A))
    world.look()
    assert world.pause < 0.1
    world.look(after=0)
    assert world.client.waits == [0, 30]
    world.client.services = None
    world.look()
    assert 0.1 < world.pause <= 1
    assert World(target("s", "m", static=True)).sync.run_round() == 10


def test_a_wait_ends_with_the_first_grace_period():
    world = World(listing=Client(A, B))
    world.look(index=5)
    world.look(A, index=1)
    world.look(A, index=1, after=50)
    assert world.client.waits[-1] == 10
    world.look(A, index=1, after=10)
    world.look(A, index=1)
    assert world.client.waits[-1] == 30


def test_instances_missing_in_another_registry_are_kept():
    world = World(listing=Client(A, B))
    world.look(index=5)
    world.client.url = "http://other"
    assert world.look(A, index=9) == ["a", "b"]
    assert world.look(A, index=10, after=60) == ["a"]


def test_a_registry_without_revisions_may_have_lost_what_it_does_not_list():
    """The registry of the original sends no revision, and keeps its services in memory only."""
    world = World(listing=Client(A, B))
    world.client.index = None
    world.look()
    assert world.look(A) == ["a", "b"]
    assert world.look(A, after=50) == ["a", "b"]
    assert world.look(A) == ["a"]


def test_a_static_instance_that_vanishes_is_kept_until_it_is_deleted():
    static = service("b", "m", metadata={"static": True})
    world = World(listing=Client(A, static))
    world.look(index=5)
    world.look(A, index=1)
    assert world.look(A, index=2, after=100_000) == ["a", "b"]
    assert world.client.waits[-1] == 30
    world.look(A, static, index=3)
    assert world.look(A, index=4) == ["a"]


def test_a_static_instance_that_vanishes_and_fails_is_kept_for_an_hour():
    world = World(listing=Client(A, service("b", "m", metadata={"static": True})))
    world.look(index=5)
    world.look(A, index=1)

    def check(passed: bool) -> None:
        for _ in range(3):
            world.state.balancer.record_check("b", passed)

    check(False)
    assert world.look(A, index=2) == ["a", "b"]
    check(True)
    assert world.look(A, index=3, after=3000) == ["a", "b"]
    check(False)
    assert world.look(A, index=4, after=3000) == ["a", "b"], "the hour begins anew"
    assert world.look(A, index=5, after=3599) == ["a", "b"]
    assert world.look(A, index=6, after=2) == ["a"]


SAVED = CachedTable("http://r", 5, [target("a", "m"), target("b", "m")], age=100)


def test_a_start_without_a_registry_takes_the_saved_table():
    world = World(target("s", "m", static=True), listing=Client(), saved=SAVED)
    world.client.services = None
    assert world.look() == ["a", "b", "s"]
    assert world.state.ready
    assert world.state.origin == Origin("saved", world.clock.now - 100, "http://r", 5)
    world.client.services = [A]
    assert world.look(index=5) == ["a", "s"], "b was deleted meanwhile"
    assert world.state.origin == Origin("registry", world.clock.now, "http://r", 5)


def test_saved_instances_have_the_grace_period_after_a_loss_of_data():
    world = World(listing=Client(), saved=SAVED)
    world.client.services = None
    world.look()
    world.client.services = [A]
    assert world.look(index=4) == ["a", "b"]
    assert world.look(index=4, after=60) == ["a"]


def test_the_saved_table_is_not_used_once_a_registry_has_answered():
    world = World(listing=Client(A), saved=SAVED)
    assert world.look(index=1) == ["a"]
    world.client.services = None
    assert world.look() == ["a"]
    assert world.state.origin.source == "registry"


def test_the_router_is_ready_with_the_first_list():
    world = World(listing=Client())
    world.client.services = None
    world.look()
    assert not world.state.ready
    world.client.services = []
    world.look(after=1)
    assert world.state.ready


def test_static_services_need_no_registry_and_keep_their_names(caplog):
    alone = World(target("s", "m", static=True))
    assert alone.look() == ["s"]
    assert alone.state.ready
    world = World(target("a", "other", static=True), target("s", "m", static=True), listing=Client())
    world.client.services = None
    assert world.look() == ["a", "s"]
    assert world.state.ready
    for _ in range(2):
        world.client.services = [A, B]
        assert world.look(after=1) == ["a", "b", "s"]
        assert set(world.state.balancer.table.by_model) == {"other", "m"}
    assert caplog.text.count("the registry lists a: ignored") == 1
    world.client.services = []
    assert world.look(index=9) == ["a", "s"]
    assert set(world.state.balancer.table.by_model) == {"other", "m"}


def test_entries_that_cannot_be_used_are_logged_once(caplog: pytest.LogCaptureFixture):
    bad = ({"name": "x"}, {**A, "name": "y", "port": "1"}, {**A, "name": "z", "url": "ftp://h"}, "text", None, 7)
    world = World(listing=Client(A, *bad))
    for _ in range(3):
        assert world.look() == ["a"]
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == len(bad)
    assert all("cannot be used" in line for line in warnings)
    world.look(A)
    world.look(A, *bad)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 2 * len(bad)


def test_babysitters_are_left_out_without_a_warning(caplog: pytest.LogCaptureFixture):
    assert World(listing=Client({**A, "metadata": {"type": "babysitter"}})).look() == []
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


def test_a_start_soon_after_the_last_table_notices_that_the_registry_has_lost_its_data():
    """As when registry and router restart together, and the registry has a new store."""
    saved = CachedTable("http://r", 5, SAVED.targets, age=1)
    world = World(listing=Client(A), saved=saved)
    assert world.look(index=1) == ["a", "b"]
    assert world.state.origin.source == "registry"
    assert world.look(index=1, after=50) == ["a", "b"]
    assert world.look(index=1, after=10) == ["a"]
    assert World(listing=Client(A), saved=saved).look(index=6) == ["a"], "b was deleted"
