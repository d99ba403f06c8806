import threading
from collections import Counter

import pytest

from svc.base.errors import RateLimited, Unavailable
from svc.router.balance.balancer import MIN_CONCURRENT_RETRIES
from svc.router.balance.conversation import block_hashes, conversation_of
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.workers.messages import Evidence, Observation
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_loads import suspicions
from tests.unit.router.examples import target
from tests.unit.router.workers.examples import RelayingProcess, snapshot

M, N = RoutingRequest("m"), RoutingRequest("n")
A, B = target("a", "m"), target("b", "m")
ONE = target("one", "m", "n", metadata={"max_concurrency": 1})


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


def processes(counts: SharedCounts, *targets: Target, **settings: object) -> list[RelayingProcess]:
    """Return two processes with this table."""
    return [RelayingProcess(counts, slot, *targets, **settings) for slot in (1, 2)]


def begin(own: RelayingProcess, request: RoutingRequest = M, **attempt: bool) -> Target | None:
    """Begin an attempt at the instance that the process chooses; return the instance, None if there is none."""
    chosen = own.balancer.pick(request)
    if chosen is not None:
        own.balancer.begin_attempt(chosen, **attempt)
    return chosen


def end(own: RelayingProcess, instance: Target, failed: bool = False, **attempt: object) -> None:
    own.balancer.end_attempt(instance, 1.0, failed, **attempt)


class WaitingRequest:
    """A request that waits for an instance, in a thread of its own. It begins its attempt there."""

    def __init__(self, own: RelayingProcess, request: RoutingRequest = M) -> None:
        self.waits, self.has_tried = threading.Event(), threading.Event()
        self.chosen: Target | None = None
        self.error: Exception | None = None
        self._own, self._request, self._calls = own, request, 0
        self._thread = threading.Thread(target=self._choose, daemon=True)
        self._thread.start()
        assert self.waits.wait(10)

    def _choose(self) -> None:
        try:
            chosen = choose_or_wait(self._own.balancer, self._request, self._on_wait)
            self._own.balancer.begin_attempt(chosen)
            self.chosen = chosen
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _on_wait(self, waiter: Waiter) -> None:
        """Note that it waits for the first time, and, at the third call, that it has tried to get an instance."""
        self._calls += 1
        self.waits.set()
        if self._calls > 2:
            self.has_tried.set()

    def result(self) -> Target | None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.chosen


# Choosing an instance.


def test_an_instance_gets_its_limit_of_requests_over_all_processes(counts):
    first, second = processes(counts, target("a", "m", metadata={"max_concurrency": 3}))
    assert [begin(own) is not None for own in (first, second, first, second, first)] == [True] * 3 + [False] * 2
    end(second, A)
    assert begin(first).name == "a"
    assert begin(second) is None


def test_a_full_instance_leaves_the_request_to_one_with_free_places(counts):
    first, second = processes(counts, A, target("b", "m", metadata={"max_concurrency": 1}), policy="least_requests")
    chosen = Counter(begin(own).name for own in (first, second, first, second, first))
    assert chosen == {"a": 4, "b": 1}


def test_the_least_busy_instance_is_that_of_all_processes(counts):
    first, second = processes(counts, A, B, policy="least_requests")
    busy = begin(first)
    assert {begin(second).name, busy.name} == {"a", "b"}


def test_the_processes_take_turns_together(counts):
    first, second = processes(counts, A, B, policy="round_robin")
    chosen = [begin(own).name for own in (first, second, second, first)]
    assert chosen in (["a", "b"] * 2, ["b", "a"] * 2)


def test_a_model_that_no_instance_has_is_an_error_also_without_a_table(counts):
    own, _ = processes(counts)
    with pytest.raises(Unavailable, match="No healthy services available for model 'm'"):
        begin(own)


def test_a_place_whose_request_ended_before_its_attempt_is_free_again(counts):
    first, second = processes(counts, ONE)
    assert first.balancer.pick(M) == ONE
    assert begin(second) is None
    assert begin(first) == ONE, "the next request of the process has the place"
    end(first, ONE)
    assert begin(second) == ONE


def test_an_attempt_at_another_instance_than_the_chosen_one_counts_there(counts):
    own, _ = processes(counts, A, ONE)
    assert own.balancer.pick(N) == ONE
    own.balancer.begin_attempt(A)
    assert (own.balancer.loads.get("a"), own.balancer.loads.get("one")) == (1, 0)


def test_the_requests_of_a_killed_process_leave_their_places(counts):
    killed, other = processes(counts, ONE)
    begin(killed)
    counts.clear(1)
    assert begin(other) == ONE
    assert other.balancer.loads.get("one") == 1


def test_an_instance_is_used_as_the_newest_table_says(counts):
    own, _ = processes(counts, A, B)
    own.balancer.adopt(snapshot(A, number=2))
    assert {begin(own).name for _ in range(4)} == {"a"}
    own.balancer.adopt(snapshot(B, number=2))
    assert begin(own) == A, "the table of a known number is not decoded again"


# Waiting.


def test_a_place_goes_to_the_request_that_waits_longest_in_any_process(counts):
    first, second = processes(counts, ONE)
    assert begin(first) == ONE
    early = WaitingRequest(second)
    late = WaitingRequest(first, N)
    end(first, ONE)
    first.balancer.queue.wake_own()
    assert begin(first, N) is None, "a request that has not waited is behind both"
    second.balancer.queue.wake_own()  # as its process does when it is woken
    assert early.result() == ONE
    assert first.balancer.queue.waiting == 1
    end(second, ONE)
    first.balancer.queue.wake_own()
    assert late.result() == ONE
    assert first.balancer.queue.waiting == 0


def test_a_free_place_wakes_the_request_that_waits_in_the_same_process(counts):
    own, _ = processes(counts, ONE)
    begin(own)
    waiting = WaitingRequest(own, N)
    end(own, ONE)
    assert waiting.result() == ONE


def test_a_new_request_does_not_overtake_one_that_has_tried_already(counts):
    own, other = processes(counts, ONE)
    begin(other)
    waiting = WaitingRequest(own)
    assert waiting.has_tried.wait(10)
    end(other, ONE)
    assert other.balancer.queue.must_wait("m")
    assert begin(own) is None
    own.balancer.queue.wake_own()
    assert waiting.result() == ONE


def test_an_instance_is_kept_only_for_models_that_the_table_sends_to_it(counts):
    """The table sends requests for n to an unusable instance, because it has no other one; those for m wait for b."""
    other = target("b", "m", metadata={"max_concurrency": 1})
    first, second = processes(counts)
    for own in (first, second):
        own.balancer.adopt(snapshot(ONE, other, number=2, unusable=("one",)))
    assert begin(first).name == "b"
    WaitingRequest(second, M)
    assert begin(first, N) == ONE


def test_a_request_that_waits_for_another_instance_holds_up_nobody(counts):
    other = target("other", "n", metadata={"max_concurrency": 1})
    first, second = processes(counts, ONE, other)
    assert begin(first) == ONE
    WaitingRequest(second, M)
    assert begin(first, N).name == "other"


def test_a_wait_ends_after_queue_timeout_with_429(counts):
    own, other = processes(counts, ONE, queue_timeout=5)
    begin(other)
    waiting = WaitingRequest(own)
    own.clock.now += 5
    own.balancer.expire(own.clock.now)
    with pytest.raises(RateLimited, match="none was free within 5 s"):
        waiting.result()
    assert other.balancer.queue.waiting == 0


def test_a_new_instance_ends_the_wait_for_a_busy_one(counts):
    own, other = processes(counts, ONE)
    begin(other)
    waiting = WaitingRequest(own)
    own.balancer.adopt(snapshot(ONE, A, number=2))
    assert waiting.result().name == "a"


# Retries.


def test_the_retry_budget_is_one_for_all_processes(counts):
    first, second = processes(counts, A, retry_budget=0.0)
    for number in range(MIN_CONCURRENT_RETRIES):
        own = (first, second)[number % 2]
        assert own.balancer.may_retry()
        begin(own, repeated=True, counts_for_budget=True)
    assert not first.balancer.may_retry()
    assert not second.balancer.may_retry()
    end(first, A, counts_for_budget=True)
    assert second.balancer.may_retry()
    assert first.balancer.retries + second.balancer.retries == MIN_CONCURRENT_RETRIES


def test_the_retry_budget_grows_with_the_requests_of_all_processes(counts):
    first, second = processes(counts, A, retry_budget=0.5)
    for _ in range(4):
        begin(first)
        begin(second)
    for _ in range(4):
        assert second.balancer.may_retry()
        second.balancer.begin_attempt(A, repeated=True, counts_for_budget=True)
    # 12 requests in flight allow 6 retries
    assert first.balancer.may_retry()


def test_a_retry_that_finds_no_instance_counts_for_no_budget(counts):
    own, other = processes(counts, A, retry_budget=0.0)
    for _ in range(MIN_CONCURRENT_RETRIES + 1):
        assert own.balancer.may_retry()
        assert own.balancer.pick_other(M, (A,)) is None
    assert counts.row("retrying").tolist() == [0, 0, 0]


def test_a_retry_that_never_began_counts_until_the_next_one(counts):
    own, _ = processes(counts, A, retry_budget=0.0)
    for _ in range(MIN_CONCURRENT_RETRIES + 1):
        assert own.balancer.may_retry()
    assert counts.row("retrying").tolist() == [0, 1, 0]


def test_a_retry_for_which_the_budget_does_not_count_frees_its_claim(counts):
    own, _ = processes(counts, A)
    assert own.balancer.may_retry()
    begin(own, repeated=True, counts_for_budget=False)
    assert counts.row("retrying").tolist() == [0, 0, 0]


# What attempts show.


def test_all_counts_are_zero_when_all_attempts_have_ended(counts):
    own, _ = processes(counts, A, target("one", "n", metadata={"max_concurrency": 1}))
    for counted in (True, False):
        begin(own, repeated=True, counts_for_budget=counted)
        begin(own, N)
        end(own, ONE)
        end(own, A, failed=True, ejection_reason="reset", counts_for_budget=counted)
    rows = ("in flight", "retrying", "instance a", "instance one")
    assert [counts.row(name).tolist() for name in rows] == [[0, 0, 0]] * len(rows)
    instance = own.balancer.statistics.instances["a"]
    assert (instance.requests, instance.errors, instance.seconds) == (2, 2, 2.0)


@pytest.mark.parametrize(
    ("attempt", "evidence"),
    [
        ({"failed": True, "ejection_reason": "reset"}, Observation(Evidence.FAILURE, "a", "reset")),
        ({"failed": True, "answered_500": True}, Observation(Evidence.SERVER_ERROR, "a")),
    ],
)
def test_a_failure_is_reported(counts, attempt: dict, evidence: Observation):
    own, _ = processes(counts, A)
    begin(own)
    end(own, A, **attempt)
    assert own.observations == [evidence]


def test_successes_are_reported_only_of_an_instance_that_has_failed(counts):
    first, second = processes(counts, A)
    begin(second)
    end(second, A)
    second.balancer.record_response_begun(A)
    assert second.observations == []
    begin(first)
    end(first, A, failed=True, ejection_reason="reset")
    for attempt in ({}, {"ejection_reason": None}, {"is_inference": False}):
        begin(second)
        end(second, A, **attempt)
    assert second.observations == [Observation(Evidence.SUCCESS, "a"), Observation(Evidence.NOTHING, "a")]


# Trials of ejected instances.


def suspect(counts: SharedCounts, *all_processes: RelayingProcess, trial: int = 7) -> None:
    """Have the control process publish that the trial of A is due."""
    suspicions(counts)["a"][0] = 1
    for own in all_processes:
        own.balancer.adopt(snapshot(A, trials={"a": trial}))


def test_one_process_only_gets_the_trial_of_an_ejected_instance(counts):
    first, second = processes(counts, A)
    suspect(counts, first, second)
    assert begin(first) == A
    assert begin(second) is None
    assert begin(first) is None
    assert first.observations == [Observation(Evidence.TRIAL_BEGUN, "a")]
    suspect(counts, first, second, trial=8)  # the next trial
    assert begin(second) == A


def test_a_trial_whose_request_ended_before_its_attempt_is_due_again(counts):
    first, second = processes(counts, A)
    suspect(counts, first, second)
    assert first.balancer.pick(M) == A
    assert second.balancer.pick(M) is None
    with pytest.raises(Unavailable):
        first.balancer.pick(RoutingRequest("unknown"))
    assert begin(second) == A
    assert second.observations == [Observation(Evidence.TRIAL_BEGUN, "a")]


def test_a_trial_given_up_late_leaves_the_next_one_to_its_process(counts):
    first, second = processes(counts, A)
    suspect(counts, first, second)
    assert first.balancer.pick(M) == A
    suspect(counts, second, trial=8)  # the control process has made another trial due
    assert second.balancer.pick(M) == A
    suspect(counts, first, trial=8)
    assert first.balancer.pick(M) is None, "the second process has the trial"


def test_a_request_that_is_no_inference_is_no_trial(counts):
    first, second = processes(counts, A)
    suspect(counts, first, second)
    begin(first, is_inference=False)
    assert first.observations == []
    assert begin(second) == A


def test_the_first_byte_of_a_trial_is_reported_before_the_next_snapshot(counts):
    """Otherwise the instance would get no other request until a long stream has ended."""
    own, _ = processes(counts, A)
    suspect(counts, own)
    begin(own)
    own.balancer.record_response_begun(A)
    assert own.observations[1:] == [Observation(Evidence.RESPONSE_BEGUN, "a")]


def test_each_process_knows_the_prefixes_that_any_has_sent(counts):
    own, other = processes(counts, A, B, policy="prefix")
    requests = [RoutingRequest("m", body=b'{"prompt": "%b"}' % (b"%d " % number * 900)) for number in range(1000, 1040)]
    chosen = [begin(own, request).name for request in requests]
    assert set(chosen) == {"a", "b"}
    for name in chosen:
        end(own, target(name, "m"))
    assert [other.balancer.pick(request).name for request in requests] == chosen
    assert len(own.balancer.prefixes) == len(other.balancer.prefixes) == 40 * 8
    for process in (own, other):
        process.balancer.adopt(snapshot(target("a", "m", status="starting"), B, number=2))
        process.balancer.adopt(snapshot(A, B, number=3))
        assert list(process.balancer.prefixes.bits) == ["b"]


def test_prefixes_of_an_instance_that_a_process_does_not_know_are_ignored(counts):
    own, other = processes(counts, A, B, policy="prefix")
    other.balancer.adopt(snapshot(B, number=2))
    request = RoutingRequest("m", body=b'{"prompt": "%b"}' % (b"x" * 9000))
    own.balancer.prefixes.add(block_hashes(conversation_of(request)), "a")
    own.balancer.prefixes.settle(is_sent=True)
    assert other.balancer.pick(request).name == "b"
    assert list(other.balancer.prefixes.bits) == ["b"]
