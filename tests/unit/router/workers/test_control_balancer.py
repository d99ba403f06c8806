import pytest

from svc.router.balance.health_tracker import HealthTracker
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.statistics import Statistics
from svc.router.workers.control_balancer import ControlBalancer
from svc.router.workers.messages import Evidence, Observation
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_loads import suspicions
from svc.router.workers.shared_queue import SharedQueue
from svc.settings import RouterSettings
from tests.unit.router.examples import Clock, target
from tests.unit.router.workers.examples import process

A, B = target("a", "m"), target("b", "m")


class Control:
    """The balancer of a control process, and how often it has reported a change."""

    def __init__(self, counts: SharedCounts) -> None:
        settings, statistics = RouterSettings(max_errors=2), Statistics()
        self.clock, self.changes = Clock(), 0
        self.events = EventReporter(1)
        health = HealthTracker(settings, self.clock, statistics, self.events)
        self.balancer = ControlBalancer(settings, self.clock, health, statistics, counts, self._count_change)
        self.balancer.replace([A, B])

    def _count_change(self) -> None:
        self.changes += 1

    def observe(self, *all_evidence: Evidence, instance: str = "a") -> None:
        for evidence in all_evidence:
            self.balancer.observe(Observation(evidence, instance, "reset" if evidence is Evidence.FAILURE else ""))

    def candidates(self) -> set[str]:
        return set(self.balancer.table.candidates)

    def make_trial_due(self) -> None:
        """Eject A, and let the time of the ejection pass."""
        self.observe(Evidence.FAILURE, Evidence.FAILURE)
        assert self.candidates() == {"b"}
        self.clock.now += 1000
        self.balancer.expire(self.clock.now)
        assert self.candidates() == {"a", "b"}


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


@pytest.fixture
def control(counts: SharedCounts) -> Control:
    return Control(counts)


def test_failures_in_a_row_eject_an_instance_for_all_processes(control):
    control.observe(Evidence.FAILURE, Evidence.SUCCESS, Evidence.FAILURE)
    assert control.candidates() == {"a", "b"}
    control.observe(Evidence.FAILURE)
    assert control.candidates() == {"b"}
    message = control.events.next_batch()[0]["message"]
    assert message.startswith("2 requests in a row failed, the last one: reset")


def test_each_observation_and_each_table_is_published(control):
    before = control.changes
    control.observe(Evidence.FAILURE)
    control.balancer.replace([A])
    assert control.changes == before + 2


def test_an_instance_that_is_in_no_table_is_not_remembered(control):
    control.observe(Evidence.FAILURE, instance="gone")
    assert "gone" not in control.balancer.health.by_instance


def test_answers_of_500_eject_an_instance_whose_peer_works(control):
    for _ in range(50):
        control.balancer.statistics.instances["a"].requests += 1
        control.observe(Evidence.SERVER_ERROR)
    assert control.candidates() == {"b"}


def test_successes_are_news_until_an_instance_has_recovered(counts, control):
    control.observe(Evidence.FAILURE)
    assert suspicions(counts)["a"][0] == 1
    control.observe(Evidence.SUCCESS)
    assert suspicions(counts)["a"][0] == 0
    control.observe(Evidence.FAILURE, Evidence.FAILURE)
    control.observe(Evidence.SUCCESS)  # of a request that began before the ejection
    assert suspicions(counts)["a"][0] == 1


@pytest.mark.parametrize("evidence", [Evidence.SUCCESS, Evidence.NOTHING, Evidence.RESPONSE_BEGUN])
def test_a_suspicion_without_a_reason_ends(counts, control, evidence: Evidence):
    """The control process before this one had a reason."""
    suspicions(counts)["a"][0] = 1
    control.observe(evidence)
    assert suspicions(counts)["a"][0] == 0
    assert "a" not in control.balancer.health.by_instance


def test_only_one_trial_of_an_ejected_instance_is_in_flight(control):
    control.make_trial_due()
    assert set(control.balancer.trials()) == {"a"}
    assert control.balancer.trials() == control.balancer.trials()
    control.observe(Evidence.TRIAL_BEGUN)
    assert control.balancer.trials() == {}
    assert control.candidates() == {"b"}


@pytest.mark.parametrize(
    ("evidence", "candidates"),
    [
        (Evidence.SUCCESS, {"a", "b"}),
        (Evidence.RESPONSE_BEGUN, {"a", "b"}),
        (Evidence.FAILURE, {"b"}),
        (Evidence.NOTHING, {"a", "b"}),
    ],
)
def test_the_result_of_a_trial_decides(control, evidence: Evidence, candidates: set[str]):
    control.make_trial_due()
    control.observe(Evidence.TRIAL_BEGUN, evidence)
    assert control.candidates() == candidates
    assert set(control.balancer.trials()) == ({"a"} if evidence is Evidence.NOTHING else set())


def test_a_trial_that_an_earlier_control_process_allowed_is_none(control):
    control.observe(Evidence.FAILURE, Evidence.TRIAL_BEGUN, Evidence.RESPONSE_BEGUN, Evidence.FAILURE)
    assert control.candidates() == {"b"}


def test_a_response_that_only_began_ends_no_row_of_failures(control):
    control.observe(Evidence.FAILURE, Evidence.RESPONSE_BEGUN, Evidence.FAILURE)
    assert control.candidates() == {"b"}


def test_each_trial_has_a_number_that_no_earlier_trial_had(counts, control):
    control.make_trial_due()
    numbers = [control.balancer.trials()["a"]]
    control.observe(Evidence.TRIAL_BEGUN, Evidence.NOTHING)
    numbers.append(control.balancer.trials()["a"])
    control.balancer.abandon(set())  # a process has ended, which may have claimed this trial
    numbers.append(control.balancer.trials()["a"])
    following = Control(counts)
    following.make_trial_due()
    numbers.append(following.balancer.trials()["a"])
    assert sorted(set(numbers)) == numbers


def test_a_trial_of_a_killed_process_is_due_again(control):
    control.make_trial_due()
    control.observe(Evidence.TRIAL_BEGUN)
    before = control.changes
    control.balancer.abandon({"a"})
    assert set(control.balancer.trials()) == {"a"}
    assert control.changes > before


def test_loads_and_lengths_are_those_of_all_processes(counts, control):
    counts.row("instance a")[1], counts.row("instance a")[2], counts.row("in flight")[2] = 2, 1, 3
    queue = SharedQueue(9, process(counts, 1), lambda model: 0)
    waiter = queue.join("m", 10, 1)
    queue.join(None, 10, 1)
    balancer = control.balancer
    assert (balancer.loads.get("a"), balancer.in_flight) == (3, 3)
    assert (balancer.queue.waiting, balancer.queue.lengths()) == (2, {"m": 1, None: 1})
    balancer.replace([B])
    balancer.expire(99)
    assert not waiter.expired, "each process ends its own waits"
