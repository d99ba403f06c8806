import datetime

import pytest

from svc.config.router_key_entry import KeyEntry
from svc.router.balance.routing_table import Origin
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.poison_list import PoisonedBody
from svc.router.telemetry.statistics import Statistics
from svc.router.workers.control_state import ControlState
from svc.router.workers.messages import Evidence, KeyEntries, Observation, PublishedTable, WorkerReport, decode
from svc.router.workers.shared_counts import SharedCounts
from svc.settings import RouterSettings
from tests.unit.router.examples import Clock, target
from tests.unit.router.telemetry.records import record

A = target("a", "m")


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


@pytest.fixture
def state(counts: SharedCounts, tmp_path) -> ControlState:
    keys = ApiKeys(tmp_path / "keys.toml")
    state = ControlState(RouterSettings(max_errors=1), Clock(), keys, counts=counts)
    state.replace_targets([A])
    return state


def statistics(status: int = 200, seconds: float = 2.0) -> Statistics:
    counts = Statistics()
    counts.record_request(record(status=status, key="ci"), None, b"", "m")
    counts.instances["a"].requests, counts.instances["a"].seconds = 1, seconds
    return counts


def test_the_reports_of_all_processes_add_up(state):
    for slot, status in ((1, 200), (2, 503), (1, 200)):
        report = WorkerReport(slot=slot, statistics=statistics(status), poison_counts={"ci": 2}, retries=3)
        state.record(report, set())
    assert state.statistics.models["m"].statuses == {200: 2, 503: 1}
    assert (state.statistics.keys, state.poison_counts, state.balancer.retries) == ({"ci": 3}, {"ci": 6}, 9)


def test_what_a_process_has_now_replaces_what_it_had(counts, state):
    for slot, idle in ((1, 7), (2, 5), (1, 2)):
        state.record(WorkerReport(slot=slot, idle_connections=idle), set())
    counts.row("body bytes")[1], counts.row("body bytes")[2] = 30, 12
    assert (state.idle_connections(), state.buffered_bytes()) == (7, 42)


def test_the_handovers_of_all_processes_add_up(state):
    for slot, handovers in ((1, [("a", "moving", 9)]), (2, [("a", "moving", 2), ("a", "engine", 1)]), (1, [])):
        state.record(WorkerReport(slot=slot, handovers=handovers), set())
    state.record(WorkerReport(slot=3, handovers=[("a", "moving", 1)]), set())
    assert state.handover_counts() == {("a", "moving"): 3, ("a", "engine"): 1}


def test_events_of_a_process_go_to_the_registry_from_the_router(state):
    state.record(WorkerReport(slot=1, events=[("poisoned", "a", "it died")]), set())
    event = state.event_reporter.next_batch()[0]
    assert (event["kind"], event["service"], event["message"]) == ("poisoned", "a", "it died")
    assert event["source"].startswith("router-")


def test_an_unlisted_model_has_the_static_services_read_again(state):
    state.record(WorkerReport(slot=1, unlisted_model_requested=True), set())
    state.record(WorkerReport(slot=2), set())
    assert state.balancer.unlisted_model_requested


def test_a_failure_at_one_process_changes_what_all_get(state):
    state.changed.clear()
    state.record(WorkerReport(slot=1, observations=[Observation(Evidence.FAILURE, "a", "reset")]), set())
    assert state.changed.is_set()
    assert decode(state.snapshot().table, PublishedTable).usable == set()


def test_a_request_that_kills_instances_is_published(state):
    old, new = (PoisonedBody(bytes([number]) * 16, 5, 99.0) for number in (1, 2))
    state.record(WorkerReport(slot=1, poisoned=[old]), set())
    state.changed.clear()
    state.record(WorkerReport(slot=2, poisoned=[new]), set())
    assert state.changed.is_set()
    assert state.snapshot().poisoned == (old, new)


def test_the_trials_in_flight_at_a_process_are_known(state):
    trials: set[str] = set()
    begun, ended = Observation(Evidence.TRIAL_BEGUN, "a"), Observation(Evidence.SUCCESS, "a")
    state.record(WorkerReport(slot=1, observations=[begun]), trials)
    assert trials == {"a"}
    state.record(WorkerReport(slot=1, observations=[ended]), trials)
    assert trials == set()


def test_a_snapshot_has_all_that_relaying_needs(state):
    entry = KeyEntry("00" * 32, datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), concurrency=4)
    state.keys.replace({"ci": entry})
    state.ready, state.origin = True, Origin("registry")
    state.record(WorkerReport(slot=1, statistics=statistics(seconds=9.0)), set())
    snapshot = state.snapshot()
    table = decode(snapshot.table, PublishedTable)
    assert (table.targets, table.usable) == ((A,), {"a"})
    assert (snapshot.ready, decode(snapshot.keys, KeyEntries), snapshot.retry_after) == (True, {"ci": entry}, 9)
    assert state.snapshot().keys_number == snapshot.keys_number > 0


def test_a_table_keeps_its_number_until_it_is_replaced(counts, state):
    numbers = [state.snapshot().table_number, state.snapshot().table_number]
    state.replace_targets([A, target("b")])
    numbers.append(state.snapshot().table_number)
    assert numbers[0] == numbers[1] < numbers[2]
    following = ControlState(RouterSettings(), Clock(), counts=counts)
    assert following.snapshot().table_number > numbers[2], "a control process that follows begins with other numbers"
