"""The status of the registry: healthy, degraded or failing, and the reason."""

import logging

import pytest

from svc.base.errors import Unavailable
from svc.registry.registry_health import STORE_TROUBLE, SUCCESSES_TO_RECOVER, RegistryHealth


class FakeStore:
    """A store that fails and has problems as the test says."""

    def __init__(self):
        self.failure, self.problem, self.incident, self.checks = "", "", "", 0

    def check(self):
        self.checks += 1
        if self.failure:
            raise Unavailable(self.failure)

    def degradation(self):
        return self.problem

    def past_incident(self):
        return self.incident


@pytest.fixture
def store():
    return FakeStore()


def test_a_usable_store_is_checked_at_the_start_only(store):
    health = RegistryHealth(store)
    assert health.is_store_usable()
    assert health.is_store_usable()
    assert store.checks == 1
    assert health.status() == ("healthy", "")


def test_a_failed_store_is_used_again_after_some_successes_in_a_row(store, caplog):
    caplog.set_level(logging.INFO)
    health = RegistryHealth(store)
    health.record_store_failure("the disk is full")
    assert health.status() == ("failing", "the disk is full")
    usable = [health.is_store_usable() for _ in range(SUCCESSES_TO_RECOVER - 1)]
    store.failure = "the disk is full"
    with pytest.raises(Unavailable):
        health.is_store_usable()
    health.record_store_failure("the disk is full")
    store.failure = ""
    usable += [health.is_store_usable() for _ in range(SUCCESSES_TO_RECOVER)]
    assert usable == [False] * (2 * SUCCESSES_TO_RECOVER - 2) + [True]
    assert health.status() == ("healthy", "")
    assert [record.getMessage() for record in caplog.records] == ["the disk is full", "the store can be used again"]


def test_a_store_with_an_older_copy_makes_the_registry_degraded(store):
    health = RegistryHealth(store)
    store.problem = "the list is as of 3 s ago"
    health.record_store_failure("no answer")
    assert health.status() == ("degraded", "the list is as of 3 s ago")


def test_a_reason_without_details_hides_the_store(store):
    health = RegistryHealth(store)
    store.incident = "/srv/registry.db was corrupt"
    health.record_kept_leases(3, 4)
    status, reason = health.status(detailed=False)
    assert (status, "3 of 4 services" in reason, "/srv" in reason) == ("degraded", True, False)
    assert "/srv" in health.status()[1]
    health.record_store_failure("/srv/registry.db: disk I/O error")
    assert health.status(detailed=False) == ("failing", STORE_TROUBLE)


def test_kept_leases_are_logged_when_they_begin_and_end(store, caplog):
    health = RegistryHealth(store)
    for kept in (3, 2, 0, 0):
        health.record_kept_leases(kept, 4)
    first, last = [record.getMessage() for record in caplog.records]
    assert (first.startswith("3 of 4"), last) == (True, "no lease is kept beyond its end any more")
