from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from svc.router.balance.routing_table import Origin
from svc.router.balance.wakes import WakeState
from svc.router.state import RouterState
from svc.router.telemetry.metrics import RouterMetrics
from tests.unit.router.examples import state, target
from tests.unit.router.telemetry.records import record


def samples(router: RouterState) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(RouterMetrics(router))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_an_idle_router_reports_its_instances():
    metrics = samples(state(target("a", "m"), target("b", "m", status="starting")))
    assert metrics["svc_router_instance_up", "a"] == 1
    assert metrics["svc_router_instance_up", "b"] == 0
    assert metrics["svc_router_attempts_total", "a"] == metrics["svc_router_requests_in_flight", "a"] == 0
    assert metrics["svc_router_retries_total",] == metrics["svc_router_idle_connections",] == 0
    assert not [name for name, *_ in metrics if name.startswith("svc_router_key")]  # where there are no keys


def test_instances_that_get_requests_are_counted_by_model():
    first, second = target("a", "m", "only-a"), target("b", "m", status="starting")
    metrics = samples(state(first, second, target("c", "gone", status="failed"), queue_size=7))
    assert metrics["svc_router_model_instances", "m"] == metrics["svc_router_model_instances", "only-a"] == 1
    assert metrics["svc_router_model_instances", "gone"] == 0, "known, and served by no instance"
    assert metrics["svc_router_queue_limit",] == 7
    assert metrics["svc_router_queue", "m"] == 0


def test_instances_that_are_asleep_and_their_models_are_marked():
    on_demand = {"on_demand": True}
    router = state(
        target("a", "m", status="asleep", metadata=on_demand),
        target("b", "awake", metadata=on_demand),
        target("c", "lost", status="asleep", metadata=on_demand),
        target("d", "other"),
    )
    router.balancer.wakes.states = {"lost": WakeState("needs 38 GB, has 24 GB", impossible=True)}
    metrics = samples(router)
    marks = {key[1]: value for key, value in metrics.items() if key[0] == "svc_router_instance_asleep"}
    assert marks == {"a": 1, "b": 0, "c": 1, "d": 0}
    models = {key[1]: value for key, value in metrics.items() if key[0] == "svc_router_model_asleep"}
    assert models == {"m": 1, "awake": 0, "lost": 0, "other": 0}, "a model that cannot be woken is an alert"


def test_attempts_errors_and_retries_are_counted():
    router, a = state(target("a", "m")), target("a", "m")
    router.balancer.begin_attempt(a, False)
    router.balancer.begin_attempt(a, repeated=True, counts_for_budget=True)
    assert samples(router)["svc_router_requests_in_flight", "a"] == 2
    router.balancer.end_attempt(a, 0.25, True, True, True)
    router.balancer.end_attempt(a, 0.25, False, answered=True)
    metrics = samples(router)
    assert metrics["svc_router_attempts_total", "a"] == 2
    assert metrics["svc_router_attempt_errors_total", "a"] == metrics["svc_router_attempts_answered_total", "a"] == 1
    assert metrics["svc_router_attempt_seconds_total", "a"] == 0.5
    assert metrics["svc_router_requests_in_flight", "a"] == 0
    assert metrics["svc_router_retries_total",] == 1


def test_requests_at_instances_that_hand_over_are_counted_by_what_becomes_of_them():
    router = state(target("a", "m", drained=True, handover=True), target("b", "m"))
    router.handovers = {("a", "moving"): 2, ("a", "tool_call"): 1, ("b", "moving"): 1, ("gone", "moving"): 1}
    counts = {key[1:]: value for key, value in samples(router).items() if key[0] == "svc_router_handover_requests"}
    assert counts == {("a", "moving"): 2, ("a", "tool_call"): 1}, "not those of an instance that hands over no more"


def test_an_ejected_instance_is_not_up():
    router, a = state(target("a", "m"), target("b", "m"), max_errors=2), target("a", "m")
    for _ in range(2):
        router.balancer.begin_attempt(a, False)
        router.balancer.end_attempt(a, 0.1, True, True)
    metrics = samples(router)
    assert metrics["svc_router_ejections_total", "a"] == metrics["svc_router_instance_ejected", "a"] == 1
    assert (metrics["svc_router_instance_up", "a"], metrics["svc_router_instance_up", "b"]) == (0, 1)
    assert metrics["svc_router_instance_failing", "a"] == 0


def test_an_instance_whose_answers_are_mostly_500_is_failing():
    router, a = state(target("a", "m"), target("b", "m"), failing_instances="mark"), target("a", "m")
    for _ in range(11):
        router.balancer.begin_attempt(a)
        router.balancer.end_attempt(a, 0.1, failed=True, answered_500=True)
    metrics = samples(router)
    assert [metrics["svc_router_instance_failing", name] for name in "ab"] == [1, 0]
    assert metrics["svc_router_instance_up", "a"] == 1


def test_request_durations_fill_a_histogram():
    router = state(target("a", 'a "model"\n'))
    for duration in (0.001, 0.3, 9999.0):
        router.statistics.record_request(
            record(model='a "model"\n', duration=duration), None, b'"prompt_tokens":2', 'a "model"\n'
        )
    metrics = samples(router)
    assert metrics["svc_router_requests_total", 'a "model"\n', "200"] == 3
    assert metrics["svc_router_tokens_total", "prompt", 'a "model"\n'] == 6
    buckets = [value for (name, *_), value in metrics.items() if name == "svc_router_request_duration_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (1, 3)
    assert metrics["svc_router_request_duration_seconds_count", 'a "model"\n'] == 3


def test_waiting_requests_are_counted_by_model():
    router = state(target("a", "m"))
    waiter = router.balancer.queue.join("m", 9.0, 1)
    router.balancer.queue.join(None, 9.0, 1)
    metrics = samples(router)
    assert metrics["svc_router_queue", "m"] == metrics["svc_router_queue", ""] == 1
    router.balancer.queue.leave("m", waiter)
    assert samples(router)["svc_router_queue", "m"] == 0


def test_only_a_table_from_a_registry_has_an_age():
    router = state(target("a", "m"))
    router.origin = Origin("static")
    assert ("svc_router_table_age_seconds",) not in samples(router)
    router.origin = Origin("saved", router.clock() - 90)
    assert samples(router)["svc_router_table_age_seconds",] == 90


def test_tokens_and_failures_are_counted():
    router = state(target("a", "m"))
    router.statistics.record_tokens("a", "m", 7, first_token=0.5)
    router.statistics.record_tokens("a", "m", 3)
    for status, end in ((200, "done"), (502, "failed"), (200, "cut")):
        router.statistics.record_request(record(model="m", status=status, end=end), None, b"", "m")
    router.event_reporter.dropped = 2
    metrics = samples(router)
    assert metrics["svc_router_instance_tokens_total", "a"] == metrics["svc_router_produced_tokens_total", "m"] == 7 + 3
    for name, label in (("svc_router_instance_ttft_seconds", "a"), ("svc_router_ttft_seconds", "m")):
        assert (metrics[f"{name}_sum", label], metrics[f"{name}_count", label]) == (0.5, 1)
    assert metrics["svc_router_failures_total", "failed", "m"] == metrics["svc_router_failures_total", "cut", "m"] == 1
    assert dict(router.statistics.models["m"].broken) == {"cut": 1}, "failures that no status shows"
    assert metrics["svc_router_events_dropped_total",] == 2
