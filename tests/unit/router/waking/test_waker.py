"""The job that has instances woken, with babysitters that answer at once."""

import threading
from collections.abc import Callable
from typing import Any

from svc.base.errors import Unavailable
from svc.config.awake_rules import ModelRule
from svc.router.balance.queued_requests import choose_or_wait
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.waking.answers import Acceptance, WakeOffer
from svc.router.waking.babysitters import SILENT, Babysitters, Refusal
from svc.router.waking.waker import HOLD_SECONDS, MAX_STEPS, SILENCE_SECONDS, STATE_SECONDS, Waker
from tests.unit.router.examples import Clock, state, target

FREE, NEVER = WakeOffer(True, now=True, status="asleep"), WakeOffer(False, reason="it needs 38 GB")


def on_demand(name: str, status: str = "asleep") -> Target:
    return target(name, "m", status=status, metadata={"on_demand": True, "wake_timeout": 100})


class FakeBabysitters(Babysitters):
    def __init__(self) -> None:
        super().__init__()
        self.offered: dict[str, WakeOffer | None] = {"a": FREE, "b": FREE}
        self.answers: dict[str, Acceptance | Refusal] = {}
        self.asked = 0
        self.sent: list[dict[str, dict[str, Any]]] = []

    def offers(self, targets):
        self.asked += 1
        return {target.name: self.offered[target.name] for target in targets}

    def demand(self, demands):
        self.sent.append({target.name: fields for target, fields in demands})
        return {target.name: self.answers.get(target.name, Acceptance("starting")) for target, _ in demands}


class Site:
    """A router with sleeping instances a and b of the model m, and a request that waits."""

    def __init__(self, rule: ModelRule | None = None) -> None:
        self.clock = Clock()
        self.router = state(on_demand("a"), on_demand("b"), clock=self.clock)
        self.babysitters = FakeBabysitters()
        rule = rule or ModelRule("m")
        self.waker = Waker(
            self.router, self.babysitters, lambda model, now: rule, self.clock, spawn=lambda work: work()
        )
        self.results: list[object] = []
        self.waiters: list[Waiter] = []

    def begin_request(self) -> threading.Thread:
        begun = threading.Event()

        def on_wait(waiter: Waiter) -> None:
            self.waiters.append(waiter)
            begun.set()

        def request() -> None:
            try:
                self.results.append(choose_or_wait(self.router.balancer, RoutingRequest("m"), on_wait).name)
            except Unavailable as error:
                self.results.append(error.message)

        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        assert begun.wait(5)
        return thread

    def round(self, seconds: float = 0) -> None:
        self.clock.now += seconds
        self.waker.run_round()

    def end(self, thread: threading.Thread) -> object:
        """End the request after its whole wait."""
        self.clock.now += 1000
        self.router.balancer.queue.expire(self.clock.now)
        thread.join(5)
        return self.results.pop()


def test_one_instance_is_woken_and_demanded_each_second_as_long_as_requests_wait():
    site = Site()
    site.round()
    assert (site.babysitters.asked, site.babysitters.sent) == (0, [])
    thread = site.begin_request()
    for _ in range(8):
        site.round(0.25)
    assert [list(sent) for sent in site.babysitters.sent] == [["a"], ["a"]]
    assert site.babysitters.sent[0]["a"]["waiting"] == 1
    assert "hold" not in site.babysitters.sent[0]["a"], "it would end what an operator wants"
    assert site.babysitters.asked == 1
    assert site.router.balancer.wakes.wake_counts == {"m": 1}
    site.router.replace_targets([on_demand("a", "running"), on_demand("b")])
    thread.join(5)
    assert site.results == ["a"]
    wait = site.router.statistics.models["m"].wake_wait
    assert (sum(wait.counts), wait.sum) == (1, 2)
    sent = len(site.babysitters.sent)
    site.round(1)
    assert len(site.babysitters.sent) == sent


def test_the_wait_goes_on_if_the_instance_falls_asleep_meanwhile():
    site = Site()
    site.router.replace_targets([target("a", "m", metadata={"on_demand": True, "max_concurrency": 1})])
    site.router.balancer.begin_attempt(site.router.balancer.table.targets[0])
    thread = site.begin_request()
    site.router.replace_targets([on_demand("a")])
    site.clock.now += 61
    site.router.balancer.queue.expire(site.clock.now)
    site.router.replace_targets([on_demand("a", "running")])
    thread.join(5)
    assert site.results == ["a"]


def test_a_wake_that_is_impossible_ends_the_wait_at_once_and_is_tried_again_later():
    site = Site()
    site.babysitters.offered = {"a": NEVER, "b": NEVER}
    thread = site.begin_request()
    site.round()
    thread.join(5)
    assert site.results == ["model 'm' is asleep, and none of its instances can be woken: it needs 38 GB"]
    site.round(STATE_SECONDS)
    site.babysitters.offered["b"] = FREE
    site.begin_request()
    site.round(1)
    assert list(site.babysitters.sent[-1]) == ["b"]


def test_the_error_after_the_wait_has_the_reason_of_the_last_demand():
    site = Site()
    site.babysitters.answers = {"a": Acceptance("asleep", "GPU 0 is held by chat, busy")}
    thread = site.begin_request()
    site.round()
    told = "model 'm' is asleep, and no instance of it was awake within 100 s: GPU 0 is held by chat, busy"
    assert site.end(thread) == told


def test_the_error_says_how_an_instance_that_does_not_get_ready_has_ended_before():
    site = Site()
    metadata = {"on_demand": True, "wake_timeout": 100, "restart_reason": "Exited with code 3"}
    site.router.replace_targets([target("a", "m", status="starting", metadata=metadata)])
    thread = site.begin_request()
    site.round()
    why = "a is starting; its process has ended before: Exited with code 3"
    assert site.end(thread) == f"model 'm' is asleep, and no instance of it was awake within 100 s: {why}"


def test_the_reason_stays_while_an_engine_that_crashes_changes_its_registration():
    site = Site()
    site.babysitters.answers = {"a": Acceptance("starting", "it failed to load: Exited with code 1")}
    thread = site.begin_request()
    site.round()
    site.router.replace_targets([on_demand("a", "starting"), on_demand("b")])
    site.round()
    assert len(site.babysitters.sent) == 1, "no demand has brought a new reason"
    assert str(site.end(thread)).endswith("within 100 s: it failed to load: Exited with code 1")


def test_the_error_says_that_an_instance_still_loads():
    site = Site()
    metadata = {"on_demand": True, "wake_timeout": 100}
    site.router.replace_targets([target("a", "m", status="starting", metadata=metadata)])
    thread = site.begin_request()
    site.round()
    expected = "model 'm' is asleep, and no instance of it was awake within 100 s: a is still loading"
    assert site.end(thread) == expected


def test_an_instance_whose_babysitter_refuses_is_left_out_for_a_while():
    site = Site()
    site.babysitters.answers = {"a": Refusal(409, "not now")}
    site.begin_request()
    site.round()
    site.round(1)
    assert [list(sent) for sent in site.babysitters.sent] == [["a"], ["b"]]


def test_babysitters_that_stay_silent_are_not_waited_for_without_end():
    site = Site()
    site.babysitters.offered = {"a": None, "b": NEVER}
    thread = site.begin_request()
    site.round()
    site.round(1)
    assert thread.is_alive()
    site.round(SILENCE_SECONDS)
    thread.join(5)
    assert site.results == [f"model 'm' is asleep, and none of its instances can be woken: it needs 38 GB; a: {SILENT}"]


def test_rules_keep_instances_awake():
    site = Site(ModelRule("m", awake_min=1))
    site.round()
    assert site.babysitters.sent == [
        {"a": {"waiting": 0, "oldest": 0.0, "by": site.router.event_reporter.source, "hold": HOLD_SECONDS}}
    ]
    site.router.replace_targets([on_demand("a", "running"), on_demand("b")])
    site.round(1)
    site.round(3)
    assert [sent.get("a", {}).get("hold") for sent in site.babysitters.sent] == [HOLD_SECONDS] * 2


def test_only_some_wakes_are_in_progress_at_once_and_the_others_follow():
    site = Site(ModelRule("m", awake_min=1))
    names = [f"i{number:02}" for number in range(MAX_STEPS + 3)]
    metadata = {"on_demand": True}
    site.router.replace_targets([target(name, name, status="asleep", metadata=metadata) for name in names])
    site.babysitters.offered = dict.fromkeys(names, FREE)
    steps: list[Callable[[], None]] = []
    site.waker = Waker(
        site.router, site.babysitters, lambda model, now: ModelRule(model, awake_min=1), site.clock, spawn=steps.append
    )
    site.round()
    site.round(0.25)
    assert len(steps) == MAX_STEPS
    steps.pop(0)()
    site.round(10)
    assert len(steps) == MAX_STEPS, "one has ended, so another begins"
    for step in steps:
        step()
    site.round(0.25)
    for step in steps[MAX_STEPS:]:
        step()
    demanded = [name for sent in site.babysitters.sent for name in sent]
    assert sorted(demanded[:-1]) == names
    assert demanded[-1] == names[0], "its second demand comes after the first of each other model"
