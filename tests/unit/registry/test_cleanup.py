from svc.registry.cleanup import Cleanup
from svc.registry.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


def test_the_long_silent_go_and_the_rest_stays(tmp_path):
    store, now, gone = SqliteStore(tmp_path / "registry.db"), [NOW], []
    for one in (service("silent", lease_seconds=30), service("live", last_heartbeat=NOW + 300)):
        store.change(one.name, lambda old, new=one: new)
    cleanup = Cleanup(store, 300, lambda: now[0], lambda: gone.append(1))
    now[0] = NOW + 329
    cleanup.round()
    assert not gone
    now[0] = NOW + 330
    cleanup.round()
    assert [s.name for s in store.snapshot()[1]] == ["live"]
    assert len(gone) == 1
    store.close()
