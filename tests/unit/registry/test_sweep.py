import pytest

from svc.registry.sqlite import SqliteStore
from svc.registry.sweep import Sweep
from tests.unit.registry.services import NOW, service


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


def put(store, *services):
    for one in services:
        store.change(one.name, lambda old, new=one: new)


def test_the_silent_expire_and_the_revision_rises_once_for_each(store):
    put(store, service("silent", lease_seconds=30), service("live", last_heartbeat=NOW + 20, lease_seconds=30))
    now = [NOW]
    sweep = Sweep(store, lambda: now[0])
    for moment, expected in ((29, []), (30, ["silent"]), (31, ["silent"]), (50, ["live", "silent"])):
        now[0] = NOW + moment
        sweep.round()
        assert [s.name for s in store.snapshot()[1] if s.expired] == expected
    assert store.snapshot()[0] == 4
