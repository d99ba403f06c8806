"""The contract of a store, tested with every store; a new one is added to STORES."""

import threading

import pytest
from msgspec.structs import replace

from svc.base.errors import Forbidden, NotFound, Unavailable
from svc.protocol.gpu_report import Gpu, GpuProcess, GpuReport
from svc.protocol.instance_load import InstanceLoad
from svc.registry.heartbeats import renew_lease
from svc.registry.leases import lease, owner
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.store.contract import LoadReport
from svc.registry.store.sqlite import SqliteStore
from tests.integration.registry.stores import put, revision
from tests.unit.registry.services import NOW, service
from tests.waiting import wait_until


def test_services_are_stored_completely_and_listed_by_name(store):
    rich = service("b", lease_seconds=12.5, weight=3, metadata={"models": ["m", "ü"], "n": 2**70, "deep": {"x": [1.5]}})
    put(store, rich)
    put(store, service("a"))
    assert store.get("b") == rich
    assert store.snapshot() == (2, [service("a"), rich])
    assert store.get("c") is None


def test_change_gets_the_stored_service_and_none_changes_nothing(store):
    assert store.change("qwen", lambda old: old) is None
    put(store, service())
    assert store.change("qwen", lambda old: replace(old, weight=old.weight + 1)).weight == 2
    assert store.change("qwen", lambda old: None).weight == 2
    assert store.get("qwen").weight == 2


def test_a_change_that_raises_changes_nothing(store):
    put(store, service())
    with pytest.raises(ZeroDivisionError):
        store.change("qwen", lambda old: 1 / 0)
    assert store.snapshot() == (1, [service()])
    assert renew_lease(store, "qwen", NOW + 1, None)


def test_a_wait_ends_with_a_change_and_not_with_a_heartbeat(store):
    put(store, service())
    assert store.wait(0, 60) == 1, "the revision has changed already"
    assert store.wait(7, 60) == 1, "the client is ahead"
    assert store.wait(1, 0.01) == 1
    revisions = []
    watchers = [threading.Thread(target=lambda: revisions.append(store.wait(1, 60))) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    renew_lease(store, "qwen", NOW + 1, "running")
    assert not revisions
    store.drain("qwen", True)
    for watcher in watchers:
        watcher.join(10)
    assert revisions == [2, 2, 2]


def test_wake_ends_the_waits(store):
    revisions = []
    watcher = threading.Thread(target=lambda: revisions.append(store.wait(0, 60)))
    watcher.start()
    wait_until(lambda: store.wake() or revisions, interval=0.01)
    watcher.join(10)
    assert revisions == [0]


def test_a_service_stays_expired_until_its_next_heartbeat(store, reopen):
    put(store, service(owner="hash"))
    store.change("qwen", lambda s: lease.expire_if_lapsed(s, NOW + 90, 0))
    assert (revision(store), store.get("qwen")) == (2, service(owner="hash", expired=True))
    store.close()
    again = reopen()
    assert again.get("qwen").expired
    assert renew_lease(again, "qwen", NOW + 91, None)
    assert (revision(again), again.get("qwen").expired) == (3, False)


def test_only_heartbeats_that_change_something_raise_the_revision(store):
    put(store, service(lease_seconds=30))
    assert renew_lease(store, "qwen", NOW + 10, None)
    assert renew_lease(store, "qwen", NOW + 20, "running")
    assert (revision(store), store.get("qwen").last_heartbeat) == (1, NOW + 20)
    assert renew_lease(store, "qwen", NOW + 30, "draining")
    assert (revision(store), store.get("qwen").status) == (2, "draining")
    assert not renew_lease(store, "other", NOW, "running")
    assert revision(store) == 2


def test_heartbeats_are_accepted_from_the_owner_and_the_operator(store):
    mine, others = owner.digest("mine" * 8), owner.digest("others" * 8)
    put(store, service("mine", owner=mine))
    put(store, service("free"))
    for caller in (mine, owner.OPERATOR):
        assert renew_lease(store, "mine", NOW + 1, "running", caller)
    for caller in (mine, owner.ANONYMOUS, owner.OPERATOR):
        assert renew_lease(store, "free", NOW + 1, "running", caller)
    for caller in (others, owner.ANONYMOUS):
        for status in ("running", "draining", None):
            with pytest.raises(Forbidden):
                renew_lease(store, "mine", NOW + 9, status, caller)
    assert (store.get("mine").last_heartbeat, store.get("mine").status, revision(store)) == (NOW + 1, "running", 2)
    store.change("mine", lambda old: replace(old, expired=True))
    with pytest.raises(NotFound):
        renew_lease(store, "mine", NOW + 9, "running", others)
    assert renew_lease(store, "mine", NOW + 9, "running", mine)


def test_a_batch_renews_what_needs_no_decision(store):
    mine, others = owner.digest("mine" * 8), owner.digest("others" * 8)
    for name in ("same", "other-status", "anothers", "expired"):
        put(store, service(name, owner=mine, expired=name == "expired"))
    before = {s.name: s for s in store.snapshot()[1]}
    renewals = [
        LeaseRenewal("same", "running", mine),
        LeaseRenewal("other-status", "draining", mine),
        LeaseRenewal("unknown", None, mine),
        LeaseRenewal("anothers", None, others),
        LeaseRenewal("expired", None, mine),
        LeaseRenewal("same", None, owner.OPERATOR),
    ]
    assert store.renew_leases(renewals, NOW + 5) == [True, False, False, False, False, True]
    assert {s.name: s for s in store.snapshot()[1]} == before | {
        "same": replace(before["same"], last_heartbeat=NOW + 5)
    }
    assert store.renew_leases([], NOW) == []


def test_a_new_owner_alone_does_not_raise_the_revision(store):
    put(store, service(owner="a"))
    put(store, service(owner="b"))
    assert (store.get("qwen").owner, revision(store)) == ("b", 1)
    assert renew_lease(store, "qwen", NOW + 1, "running", "b")


def test_a_removal_whose_condition_raises_removes_nothing(store):
    put(store, service())
    with pytest.raises(ZeroDivisionError):
        store.remove("qwen", lambda old: 1 / 0)
    assert store.snapshot() == (1, [service()])


def test_a_list_has_the_latest_heartbeats_at_the_same_revision(store, reopen):
    other = reopen()
    for name in ("a", "b", "c"):
        put(store, service(name))
    before = store.snapshot(), other.snapshot()
    renew_lease(store, "b", NOW + 20, None)
    put(store, service("c", timestamp="2030-01-01T00:00:00Z"))
    for mine, (index, listed) in zip((store, other), before, strict=True):
        now, current = mine.snapshot()
        assert now == index
        assert [s.last_heartbeat for s in current] == [NOW, NOW + 20, NOW]
        assert current[2].timestamp == "2030-01-01T00:00:00Z"
        assert listed[1].last_heartbeat == NOW, "an earlier snapshot does not change"


def test_remove_returns_whether_it_removed_the_service(store):
    put(store, service())
    assert not store.remove("qwen", when=lambda s: s.weight == 7)
    assert store.remove("qwen", when=lambda s: s.weight == 1)
    assert not store.remove("qwen")
    assert store.snapshot() == (2, [])


def test_the_drain_mark_outlives_changes_and_registrations(store):
    assert store.drain("qwen", True) is None
    put(store, service())
    assert store.drain("qwen", True).drained
    assert revision(store) == 2
    assert store.drain("qwen", True).drained
    assert revision(store) == 2, "it was drained already"
    renew_lease(store, "qwen", NOW + 1, "starting")
    store.change("qwen", lambda old: replace(old, drained=False))
    assert put(store, service()).drained
    store.remove("qwen")
    assert put(store, service()).drained
    assert not store.drain("qwen", False).drained
    assert not store.get("qwen").drained


def test_each_drain_says_anew_whether_streams_are_handed_over(store):
    put(store, service())
    assert store.drain("qwen", True, handover=True).handover
    assert store.drain("qwen", True, handover=True).handover
    assert revision(store) == 2, "it was so already"
    renew_lease(store, "qwen", NOW + 1, "starting")
    store.change("qwen", lambda old: replace(old, handover=False))
    store.remove("qwen")
    again = put(store, service())
    assert (again.drained, again.handover) == (True, True)
    assert store.snapshot()[1] == [again]
    last = revision(store)
    only_drained = store.drain("qwen", True)
    assert (only_drained.drained, only_drained.handover) == (True, False)
    assert revision(store) == last + 1
    store.drain("qwen", True, handover=True)
    ended = store.drain("qwen", False, handover=True)
    assert (ended.drained, ended.handover) == (False, False)
    assert not store.drain("qwen", True).handover, "the end of the drain has ended it"


def test_a_reopened_store_has_everything(store, reopen):
    put(store, service("moves"))
    store.drain("moves", True, handover=True)
    put(store, service())
    store.drain("qwen", True)
    renew_lease(store, "qwen", NOW + 5, None)
    before = store.snapshot()
    store.close()
    assert reopen().snapshot() == before


def test_concurrent_changes_of_two_stores_lose_nothing(store, reopen):
    put(store, service(weight=0))
    both = [store, reopen()]

    def count(mine):
        for _ in range(50):
            mine.change("qwen", lambda old: replace(old, weight=old.weight + 1))

    threads = [threading.Thread(target=count, args=(mine,)) for mine in both * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [mine.get("qwen").weight for mine in both] == [200, 200]
    assert revision(store) == 201


def test_a_closed_store_is_unavailable(store):
    store.close()
    with pytest.raises(Unavailable):
        store.snapshot()
    with pytest.raises(Unavailable):
        renew_lease(store, "qwen", NOW, None)


def test_the_mark_of_an_unknown_name_can_be_cleared_but_not_set(store, reopen):
    put(store, service("gone"))
    store.drain("gone", True)
    store.remove("gone")
    assert store.drain("gone", False) is None
    assert store.drain("never", True) is None
    store.close()
    again = reopen()
    for name in ("gone", "never"):
        assert not put(again, service(name)).drained


def test_registries_share_what_their_checks_reach(store, reopen):
    other = reopen()
    try:
        store.share_reached(["a", "b"], 60)
        other.share_reached([], 60)
        assert store.reached_by_others() == frozenset(), "a registry's own names do not count"
        if isinstance(store, SqliteStore):  # one registry alone has such a store
            assert other.reached_by_others() == frozenset()
            return
        assert other.reached_by_others() == {"a", "b"}
        store.share_reached(["b"], -1)
        assert other.reached_by_others() == frozenset(), "what was shared has expired"
    finally:
        other.close()


def test_a_status_of_several_words_is_kept(store):
    mine = owner.digest("mine" * 8)
    put(store, service(owner=mine))
    for number, status in enumerate(("warming up", "warming up", "warming", "running"), 1):
        assert renew_lease(store, "qwen", NOW + number, status, mine)
        stored = store.get("qwen")
        assert (stored.status, stored.last_heartbeat) == (status, NOW + number)
        with pytest.raises(Forbidden):
            renew_lease(store, "qwen", NOW + 9, status, owner.digest("up" * 8))


def load(running=1, interval=2.0):
    return InstanceLoad(running=running, waiting=0, kv_cache=0.25, interval=interval)


def test_loads_are_listed_by_name_until_they_are_too_old(store):
    put(store, service("b"))
    put(store, service("a"))
    before = revision(store)
    reports = [LoadReport("b", load(2), None), LoadReport("a", load(1, interval=10.0), None)]
    assert store.put_loads(reports, NOW) == [True, True]
    assert revision(store) == before
    listed = store.loads(NOW + 1.5)
    assert [(entry.service, entry.running, entry.kv_cache, entry.age) for entry in listed] == [
        ("a", 1, 0.25, 1.5),
        ("b", 2, 0.25, 1.5),
    ]
    assert [entry.service for entry in store.loads(NOW + 7)] == ["a"]
    assert store.put_loads([LoadReport("a", load(7), None)], NOW + 8) == [True]
    assert [(entry.service, entry.running) for entry in store.loads(NOW + 8)] == [("a", 7)]
    assert store.loads(NOW + 100_000) == []


def test_only_the_owner_of_a_name_reports_its_load(store):
    put(store, service("owned", owner=owner.digest("s" * 40)))
    put(store, service("expired", expired=True))
    callers = [owner.ANONYMOUS, owner.digest("t" * 40), owner.digest("s" * 40), owner.OPERATOR]
    assert store.put_loads([LoadReport("owned", load(), caller) for caller in callers], NOW) == [
        False,
        False,
        True,
        True,
    ]
    others = [LoadReport("unknown", load(), owner.OPERATOR), LoadReport("expired", load(), owner.OPERATOR)]
    assert store.put_loads(others, NOW) == [False, False]
    assert [entry.service for entry in store.loads(NOW)] == ["owned"]


def test_the_next_owner_of_a_name_does_not_have_its_load(store):
    def put(**fields):
        store.change("a", lambda old: replace(service("a"), **fields))

    put(owner="one")
    assert store.put_loads([LoadReport("a", load(interval=3600.0), owner.OPERATOR)], NOW) == [True]
    put(owner="one", weight=7)
    assert [entry.service for entry in store.loads(NOW)] == ["a"]
    put(owner="two")
    assert store.loads(NOW) == []
    assert store.put_loads([LoadReport("a", load(interval=3600.0), owner.OPERATOR)], NOW) == [True]
    assert store.remove("a")
    assert store.loads(NOW) == []
    put(owner="one")
    assert store.loads(NOW) == []
    assert store.put_loads([LoadReport("a", load(interval=3600.0), owner.OPERATOR)], NOW) == [True]
    put(owner="one", expired=True)
    assert store.loads(NOW) == []


def gpus(used=7, interval=5.0):
    process = GpuProcess(pid=12, memory=5, instance="qwen", command="python3 -m vllm \N{SNOWMAN}")
    gpu = Gpu(index=0, name="H100", memory_total=80, memory_used=used, utilization=0.5, errors=0, processes=(process,))
    return GpuReport(hostname="gpu7", tool="nvidia-smi", gpus=(gpu,), interval=interval)


def test_gpus_are_listed_by_service_until_they_are_too_old(store):
    put(store, service("b"))
    put(store, service("a"))
    before = revision(store)
    assert store.put_gpus("b", gpus(2), owner.ANONYMOUS, NOW)
    assert store.put_gpus("a", gpus(1, interval=60.0), owner.ANONYMOUS, NOW)
    assert revision(store) == before
    listed = store.gpus(NOW + 1.5)
    assert [(host.service, host.age, host.hostname, host.gpus) for host in listed] == [
        ("a", 1.5, "gpu7", gpus(1).gpus),
        ("b", 1.5, "gpu7", gpus(2).gpus),
    ]
    assert [host.service for host in store.gpus(NOW + 16)] == ["a"]
    assert store.put_gpus("a", gpus(9), owner.ANONYMOUS, NOW + 17)
    assert [host.gpus[0].memory_used for host in store.gpus(NOW + 17)] == [9]
    assert store.gpus(NOW + 100_000) == []


def test_only_the_owner_of_a_name_reports_gpus_and_the_next_owner_does_not_have_them(store):
    put(store, service("owned", owner=owner.digest("s" * 40)))
    callers = (owner.ANONYMOUS, owner.digest("t" * 40), owner.digest("s" * 40), owner.OPERATOR)
    assert [store.put_gpus("owned", gpus(), caller, NOW) for caller in callers] == [False, False, True, True]
    assert not store.put_gpus("unknown", gpus(), owner.OPERATOR, NOW)
    assert [host.service for host in store.gpus(NOW)] == ["owned"]
    store.change("owned", lambda old: replace(old, owner="two"))
    assert store.gpus(NOW) == []
    assert store.put_gpus("owned", gpus(), owner.OPERATOR, NOW)
    assert store.remove("owned")
    assert store.gpus(NOW) == []
