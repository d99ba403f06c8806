import datetime
import hashlib

import msgspec
import pytest

from svc.base.errors import Unauthorized
from svc.config.router_key_entry import KeyEntry
from svc.perimeter.hosts import Hosts
from svc.router.balance.routing_request import RoutingRequest
from svc.router.proxy.poison_list import PoisonedBody
from svc.router.workers.messages import Evidence, Observation, encode
from svc.router.workers.relay_state import MAX_UNSENT_OBSERVATIONS, RelayState
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_keys import SharedApiKey
from svc.settings import RouterSettings
from tests.unit.router.examples import target
from tests.unit.router.telemetry.records import record
from tests.unit.router.workers.examples import process, snapshot

A = target("a", "m")
FAILURE = Observation(Evidence.FAILURE, "a", "reset")


class Relaying:
    """The state of a process that relays, and how it calls its link to the control process."""

    def __init__(self, counts: SharedCounts, slot: int = 1, **settings: object) -> None:
        self.calls: list[str] = []
        self.state = RelayState(
            RouterSettings(**settings),
            Hosts(),
            process(counts, slot),
            lambda: self.calls.append("wake"),
            lambda: self.calls.append("synchronize"),
        )


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


@pytest.fixture
def relaying(counts: SharedCounts) -> Relaying:
    return Relaying(counts)


@pytest.fixture
def state(relaying: Relaying) -> RelayState:
    return relaying.state


def poisoned(number: int) -> PoisonedBody:
    return PoisonedBody(bytes([number]) * 16, 5, 1e12)


def test_changed_handovers_are_reported_once(state):
    state.handovers = {("a", "moving"): 2, ("a", "tool_call"): 1}
    assert state.take_report().handovers == [("a", "moving", 2), ("a", "tool_call", 1)]
    assert state.take_report() is None
    state.handovers = {}
    assert state.take_report().handovers == []


# What comes from the control process.


def test_a_process_is_ready_with_the_first_table(state):
    state.adopt(snapshot(ready=False, retry_after=9))
    assert (state.ready, state.statistics.retry_after()) == (False, 9)
    state.adopt(snapshot(A, number=2))
    assert state.ready
    assert state.balancer.pick(RoutingRequest("m")) == A


def test_a_control_process_that_has_no_table_yet_changes_nothing(state):
    state.adopt(snapshot(A))
    state.adopt(snapshot(number=2, ready=False))
    assert state.ready
    assert state.balancer.pick(RoutingRequest("m")) == A


def encoded(**keys: KeyEntry) -> msgspec.Raw:
    return msgspec.Raw(encode(keys))


def test_keys_come_with_the_snapshot_and_have_limits_of_all_processes(counts):
    state = Relaying(counts, keys_file="keys.toml").state
    digest = hashlib.sha256(b"secret")
    with pytest.raises(Unauthorized):
        state.keys.find((digest.digest(),))
    created = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    state.adopt(snapshot(A, keys_number=1, keys=encoded(ci=KeyEntry(digest.hexdigest(), created, concurrency=4))))
    key = state.keys.find((digest.digest(),))
    assert (type(key), key.name, key.concurrency) == (SharedApiKey, "ci", 4)
    state.adopt(snapshot(A, keys_number=1, keys=encoded()))
    assert state.keys.find((digest.digest(),)) is key, "the number shows that nothing has changed"
    state.adopt(snapshot(A, keys_number=2, keys=encoded()))
    with pytest.raises(Unauthorized):
        state.keys.find((digest.digest(),))


def test_requests_that_kill_instances_are_refused_at_every_process(counts, state):
    other = Relaying(counts, slot=2).state
    other.poison.add(b"deadly", 0.0)
    state.poison.add(b"own", 0.0)
    state.adopt(snapshot(A, poisoned=tuple(other.poison.entries.values())))
    assert state.poison.contains(b"deadly", 1.0)
    assert state.poison.contains(b"own", 1.0), "the control process may not have it yet"


def test_retry_after_is_the_duration_of_requests_at_all_processes(state):
    state.adopt(snapshot(A, retry_after=17))
    assert state.statistics.retry_after() == 17
    state.take_report()
    assert state.statistics.retry_after() == 17


# What goes to the control process.


def test_nothing_new_is_not_reported(state):
    state.adopt(snapshot(A))
    assert state.take_report() is None


def test_a_report_has_what_was_counted_and_observed_since_the_last_one(state):
    state.adopt(snapshot(A))
    state.balancer.begin_attempt(A)
    state.balancer.begin_attempt(A, repeated=True)
    state.balancer.end_attempt(A, 1.0, failed=True, ejection_reason="reset")
    state.statistics.record_request(record(), None, b"", "m")
    state.poison_counts["ci"] += 1
    state.event_reporter.add("poisoned", "a", "it died")
    state.balancer.unlisted_model_requested = True
    report = state.take_report()
    assert (report.slot, report.sync, report.retries, report.unlisted_model_requested) == (1, 0, 1, True)
    assert (report.observations, report.events) == ([FAILURE], [("poisoned", "a", "it died")])
    assert (report.poison_counts, report.statistics.models["m"].statuses) == ({"ci": 1}, {200: 1})
    assert report.statistics.instances["a"].errors == 1
    assert state.take_report() is None
    assert (len(report.observations), report.statistics.models["m"].statuses) == (1, {200: 1})


def test_retries_are_reported_once(state):
    state.balancer.retries += 2
    assert state.take_report().retries == 2
    state.balancer.retries += 1
    assert state.take_report().retries == 1


def test_an_observation_and_a_sync_are_reported_at_once(relaying):
    relaying.state.unsent.observe(FAILURE)
    assert relaying.calls == ["wake"]
    relaying.state.report_at_once(7)
    assert relaying.calls == ["wake"] * 2


def test_a_sync_is_answered_once_even_if_there_is_nothing_new(state):
    state.report_at_once(7)
    assert state.take_report().sync == 7
    assert state.take_report() is None


def test_a_request_that_kills_instances_ends_once_all_refuse_it(relaying):
    state = relaying.state
    state.poison.add(b"deadly", 0.0)
    assert relaying.calls == ["synchronize"]
    report = state.take_report()
    assert [entry.length for entry in report.poisoned] == [6]
    state.poison.add(b"deadly", 1.0)
    assert relaying.calls == ["synchronize"]
    assert state.take_report() is None


def test_without_a_control_process_the_newest_observations_are_kept(state):
    for number in range(MAX_UNSENT_OBSERVATIONS + 1):
        state.unsent.observe(Observation(Evidence.FAILURE, f"i{number}"))
    kept = state.take_report().observations
    assert len(kept) == MAX_UNSENT_OBSERVATIONS // 2 + 1
    assert kept[-1].instance == f"i{MAX_UNSENT_OBSERVATIONS}"


def test_an_expired_poisoned_request_passes_whatever_was_added_since(counts: SharedCounts):
    state, other = Relaying(counts).state, Relaying(counts, 2).state
    other.poison.add(b"first", 0.0)
    expired = tuple(other.poison.entries.values())
    now = state.settings.poison_timeout + 1
    state.poison.add(b"second", now)
    state.adopt(snapshot(A, poisoned=expired))
    assert state.poison.contains(b"second", now)
    assert not state.poison.contains(b"first", now)


def test_a_new_control_process_gets_all_poisoned_requests(counts: SharedCounts):
    state = Relaying(counts).state
    state.poison.add(b"deadly", 0.0)
    assert len(state.take_report().poisoned) == 1
    assert state.take_report() is None
    state.reported_poison.report_all()
    assert state.take_report().poisoned == list(state.poison.entries.values())
