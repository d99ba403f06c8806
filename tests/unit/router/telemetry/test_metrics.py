"""What Prometheus reads, by its own parser."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from svc.router.balance.table import Origin
from svc.router.state import RouterState
from svc.router.telemetry.metrics import RouterMetrics
from tests.unit.router.made import state, target
from tests.unit.router.telemetry.test_access_log import record


def samples(told: RouterState) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(RouterMetrics(told))
    text = generate_latest(registry).decode()
    return {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_an_idle_router_tells_of_its_instances():
    told = samples(state(target("a", "m"), target("b", "m", status="starting")))
    assert told["svc_router_instance_up", "a"] == 1
    assert told["svc_router_instance_up", "b"] == 0
    assert told["svc_router_attempts_total", "a"] == told["svc_router_requests_in_flight", "a"] == 0
    assert told["svc_router_retries_total",] == told["svc_router_idle_connections",] == 0
    assert not [name for name, *_ in told if name.startswith("svc_router_key")]  # where there are no keys


def test_how_many_instances_a_model_has_that_get_its_requests():
    one, two = target("a", "m", "only-a"), target("b", "m", status="starting")
    told = samples(state(one, two, target("c", "gone", status="failed"), queue_size=7))
    assert told["svc_router_model_instances", "m"] == told["svc_router_model_instances", "only-a"] == 1
    assert told["svc_router_model_instances", "gone"] == 0, "known, and served by nobody"
    assert told["svc_router_queue_limit",] == 7
    assert told["svc_router_queue", "m"] == 0


def test_attempts_in_flight_errors_and_retries():
    told, a = state(target("a", "m")), target("a", "m")
    told.begin(a, False)
    told.begin(a, repeated=True, counts_for_budget=True)
    assert samples(told)["svc_router_requests_in_flight", "a"] == 2
    told.observe(a, 0.25, True, True, True)
    told.observe(a, 0.25, False, answered=True)
    found = samples(told)
    assert found["svc_router_attempts_total", "a"] == 2
    assert found["svc_router_attempt_errors_total", "a"] == found["svc_router_attempts_answered_total", "a"] == 1
    assert found["svc_router_attempt_seconds_total", "a"] == 0.5
    assert found["svc_router_requests_in_flight", "a"] == 0
    assert found["svc_router_retries_total",] == 1


def test_an_ejected_instance():
    told, a = state(target("a", "m"), target("b", "m"), max_errors=2), target("a", "m")
    for _ in range(2):
        told.begin(a, False)
        told.observe(a, 0.1, True, True)
    found = samples(told)
    assert found["svc_router_ejections_total", "a"] == found["svc_router_instance_ejected", "a"] == 1
    assert (found["svc_router_instance_up", "a"], found["svc_router_instance_up", "b"]) == (0, 1)


def test_requests_and_their_histograms():
    told = state(target("a", 'a "model"\n'))
    for duration in (0.001, 0.3, 9999.0):
        told.recorder.ended(record(model='a "model"\n', duration=duration), None, b'"prompt_tokens":2', 'a "model"\n')
    found = samples(told)
    assert found["svc_router_requests_total", 'a "model"\n', "200"] == 3
    assert found["svc_router_tokens_total", "prompt", 'a "model"\n'] == 6
    buckets = [value for (name, *_), value in found.items() if name == "svc_router_request_duration_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (1, 3)
    assert found["svc_router_request_duration_seconds_count", 'a "model"\n'] == 3


def test_who_waits():
    told = state(target("a", "m"))
    place = told.lines.join("m", 9.0, 1)
    told.lines.join(None, 9.0, 1)
    found = samples(told)
    assert found["svc_router_queue", "m"] == found["svc_router_queue", ""] == 1
    told.lines.leave("m", place)
    assert samples(told)["svc_router_queue", "m"] == 0


def test_the_tables_age_is_told_where_a_registry_told_the_table():
    told = state(target("a", "m"))
    told.origin = Origin("static")
    assert ("svc_router_table_age_seconds",) not in samples(told)
    told.origin = Origin("saved", told.clock() - 90)
    assert samples(told)["svc_router_table_age_seconds",] == 90


def test_what_instances_produce_and_how_requests_fail():
    told = state(target("a", "m"))
    told.produced("a", "m", 7, first=0.5)
    told.produced("a", "m", 3)
    for status, end in ((200, "done"), (502, "failed"), (200, "cut")):
        told.recorder.ended(record(model="m", status=status, end=end), None, b"", "m")
    told.news.dropped = 2
    found = samples(told)
    assert found["svc_router_instance_tokens_total", "a"] == found["svc_router_produced_tokens_total", "m"] == 7 + 3
    for whose in (("svc_router_instance_ttft_seconds", "a"), ("svc_router_ttft_seconds", "m")):
        assert (found[f"{whose[0]}_sum", whose[1]], found[f"{whose[0]}_count", whose[1]]) == (0.5, 1)
    assert found["svc_router_failures_total", "failed", "m"] == found["svc_router_failures_total", "cut", "m"] == 1
    assert dict(told.recorder.meters["m"].broken) == {"cut": 1}, "what no status tells"
    assert found["svc_router_events_dropped_total",] == 2
