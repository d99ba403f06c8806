from svc.registry.leases.cleanup import Cleanup
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


def test_the_long_silent_go_and_the_rest_stays(tmp_path):
    store, now, gone = SqliteStore(tmp_path / "registry.db"), [NOW], []
    for one in (service("silent", lease_seconds=30, expired=True), service("live", last_heartbeat=NOW + 300)):
        store.change(one.name, lambda old, new=one: new)
    cleanup = Cleanup(store, 300, lambda: now[0], lambda: NOW, lambda: gone.append(1))
    now[0] = NOW + 329
    cleanup.round()
    assert not gone
    now[0] = NOW + 330
    cleanup.round()
    assert [s.name for s in store.snapshot()[1]] == ["live"]
    assert len(gone) == 1
    store.close()


class HeardOf:
    """A store where every service is heard of between the looking and the removing."""

    def __init__(self, store):
        self.store = store

    def snapshot(self):
        before = self.store.snapshot()
        self.store.heartbeat("late", NOW + 10_000, None)
        return before

    def remove(self, name, when, why):
        return self.store.remove(name, when, why)


def test_what_is_heard_of_at_the_last_moment_stays(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("late", lambda old: service("late", expired=True))
    cleanup = Cleanup(HeardOf(store), 300, lambda: NOW + 10_000, lambda: NOW, lambda: None)
    cleanup.round()
    assert store.get("late")
    store.close()
