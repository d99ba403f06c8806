from svc.router.workers import shared_accounts
from svc.router.workers.shared_accounts import ENTRIES, PROBES, AccountTable, SharedCounters


def test_processes_share_the_counters():
    table = AccountTable()
    first, second = SharedCounters(table), SharedCounters(table)
    first.set(("g", -3, "ci/ålice"), 5)
    second.set(("g", 0, "ci/ålice"), -7)
    assert (second.get(("g", -3, "ci/ålice")), first.get(("g", 0, "ci/ålice"))) == (5, -7)
    first.set(("g", -3, "ci/ålice"), 6)
    assert second.value(("g", -3, "ci/ålice")) == 6


def test_an_account_without_a_counter_starts_where_new_ones_start():
    counters = SharedCounters(AccountTable())
    assert counters.value(("g", 0, "new")) == 0
    counters.set(("g", 0, ""), 900)
    assert counters.value(("g", 0, "new")) == 900
    assert counters.get(("g", 0, "new")) is None
    assert counters.value(("other", 0, "new")) == 0


def test_the_counter_that_was_used_least_recently_makes_room(monkeypatch):
    monkeypatch.setattr(shared_accounts, "xxh3_64_intdigest", lambda name, seed: (int(name[-2:]) + 1) * ENTRIES << 1)
    counters = SharedCounters(AccountTable())
    keys = [("", 0, f"{number:02}") for number in range(PROBES + 1)]
    for number, key in enumerate(keys[:-1]):
        counters.set(key, number)
    counters.set(keys[0], 100)
    counters.set(keys[-1], 200)
    assert counters.get(keys[1]) is None
    assert [counters.get(key) for key in (keys[0], keys[2], keys[-1])] == [100, 2, 200]
