"""The list of services as JSON, which is encoded once for each revision and filter."""

import json

import pytest

from svc.registry import list_cache
from svc.registry.heartbeats import renew_lease
from svc.registry.list_cache import ListCache, service_counts
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    for name in ("a", "b"):
        store.change(name, lambda old, name=name: service(name))
    yield store
    store.close()


def everything(service):
    return True


def names(encoded):
    entries, count = encoded
    listed = [entry["name"] for entry in json.loads(entries)]
    assert len(listed) == count
    return listed


def test_a_list_is_encoded_once_for_a_revision(store):
    cache = ListCache(store)
    revision, first = cache.of_revision(2, (), everything)
    assert (revision, names(first)) == (2, ["a", "b"])
    assert cache.of_revision(2, (), everything)[1] is first
    renew_lease(store, "a", NOW + 1, None)
    assert cache.of_revision(2, (), everything)[1] is first, "a renewed lease does not raise the revision"


def test_the_current_list_has_the_latest_heartbeats(store):
    cache = ListCache(store)
    cache.of_revision(2, (), everything)
    renew_lease(store, "a", NOW + 1, None)
    _, (entries, _) = cache.current(everything)
    assert [entry["last_heartbeat"] for entry in json.loads(entries)] == [NOW + 1, NOW]


def test_a_new_revision_replaces_the_list(store):
    cache = ListCache(store)
    cache.of_revision(2, (), everything)
    store.remove("a")
    revision, encoded = cache.of_revision(3, (), everything)
    assert (revision, names(encoded)) == (3, ["b"])


def test_a_revision_that_is_over_gets_the_current_list(store):
    assert ListCache(store).of_revision(1, (), everything)[0] == 2


def test_each_filter_has_its_own_list(store, monkeypatch):
    monkeypatch.setattr(list_cache, "MAX_CACHED_LISTS", 1)
    cache = ListCache(store)
    for _ in range(2):
        assert names(cache.of_revision(2, ("all",), everything)[1]) == ["a", "b"]
        assert names(cache.of_revision(2, ("a",), lambda s: s.name == "a")[1]) == ["a"]


def test_services_are_counted_by_status_and_host(store):
    counts = service_counts([service("a"), service("b", status="starting", host="10.0.0.8")])
    assert (counts["total_services"], counts["healthy_services"], counts["unhealthy_services"]) == (2, 1, 1)
    assert counts["status_distribution"] == {"running": 1, "starting": 1}
    assert counts["host_distribution"] == {"10.0.0.7": 1, "10.0.0.8": 1}
