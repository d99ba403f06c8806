"""The tables of `svc top`, from two scrapes of a router's metrics."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from svc.client import router_metrics
from svc.protocol.gpu_report import Gpu
from svc.protocol.gpu_use import GpuUse, HostUse
from svc.router.telemetry.metrics import RouterMetrics
from svc.terminal import traffic_table
from tests.unit.router.examples import state, target
from tests.unit.router.telemetry.records import record


class Router:
    def __init__(self):
        self.state = state(target("a", "m"), target("b", "m", "n", status="starting"))

    def served(self, status=200, end="done", tokens=10, first=0.25, name="a"):
        of = next(t for t in self.state.balancer.table.targets if t.name == name)
        self.state.balancer.begin_attempt(of, False)
        self.state.balancer.end_attempt(of, 0.5, failed=status >= 500)
        traffic = record(model="m", instance=name, status=status, end=end, first_byte=first, completion_tokens=tokens)
        self.state.statistics.record_request(traffic, True, b"", "m")
        self.state.statistics.record_tokens(name, "m", tokens or 10, first)

    def refused(self, label):
        """Count a request that no instance got."""
        self.state.statistics.record_request(
            record(model="x", instance="", status=503, end="refused"), False, b"", label
        )

    def scrape(self, now):
        registry = CollectorRegistry()
        registry.register(RouterMetrics(self.state))
        return router_metrics.parse_metrics(generate_latest(registry).decode(), now)


def test_rates_are_those_between_two_scrapes():
    router = Router()
    router.served()
    before = router.scrape(100.0)
    for _ in range(3):
        router.served()
    router.served(status=503, tokens=0)
    router.served(status=499, tokens=0)
    router.served(end="cut")
    traffic = traffic_table.traffic(before, router.scrape(102.0))
    (model,) = [row for row in traffic.models if row.name == "m"]
    assert model.rates.requests == 3.0
    assert model.rates.errors == 1.0, "the status 503 and the cut stream; a client that leaves is no error"
    assert model.rates.first_token == 0.25
    assert (model.load, model.last) == (0, "1")
    a, b = traffic.instances
    assert (a.name, a.rates.requests, a.last) == ("a", 3.0, "up")
    assert (b.name, b.rates.requests, b.last) == ("b", 0.0, "unused")


def test_an_unfinished_first_stream_shows_its_tokens():
    router = Router()
    before = router.scrape(100.0)
    router.state.statistics.record_tokens("a", "m", 40, 0.25)
    model = traffic_table.traffic(before, router.scrape(102.0)).models[0]
    assert (model.rates.requests, model.rates.tokens, model.rates.first_token) == (0.0, 20.0, 0.25)


def test_a_restarted_router_counts_from_zero():
    before = Router()
    for _ in range(9):
        before.served()
    after = Router()
    after.served()
    traffic = traffic_table.traffic(before.scrape(100.0), after.scrape(101.0))
    assert {row.name: row.rates.requests for row in traffic.models} == {"m": 1.0, "n": 0.0}


def text(traffic):
    return [" ".join(line.plain.split()) for line in traffic_table.traffic_lines(traffic, "", "name", 80)]


@pytest.mark.parametrize("text", ["", "svc_registry_services 3\n", "python_info 1\n", "<html>"])
def test_metrics_of_another_program_are_refused(text):
    with pytest.raises(ValueError, match="."):
        router_metrics.parse_metrics(text, 0.0)


def test_a_model_without_instances_has_a_row_while_it_is_asked_for():
    router = Router()
    before = router.scrape(100.0)
    for label in ("unknown", "unknown", "", "gone"):
        router.refused(label)
    now = router.scrape(101.0)
    traffic = traffic_table.traffic(before, now)
    assert {row.name: (row.rates.errors, row.last) for row in traffic.models} == {
        "": (1.0, "0"),
        "gone": (1.0, "0"),
        "m": (0.0, "1"),
        "n": (0.0, "0"),
        "unknown": (2.0, "0"),
    }
    output = text(traffic)
    assert {"(no such model) 2 2 0 - 0 -", "(no model) 1 1 0 - 0 -", "gone 1 1 0 - 0 0"} <= set(output)
    assert {row.name for row in traffic_table.traffic(now, router.scrape(102.0)).models} == {"m", "n"}


def test_the_headline_counts_requests_and_not_attempts():
    router = Router()
    before = router.scrape(100.0)
    a, b = router.state.balancer.table.targets
    router.state.balancer.begin_attempt(b, False)
    router.state.balancer.end_attempt(b, 0.5, failed=True)
    router.served()
    router.refused("unknown")
    traffic = text(traffic_table.traffic(before, router.scrape(101.0)))
    assert traffic[1] == "2 requests/s, 1 errors/s, 10 tokens/s, 0 in flight, 0 queued"
    assert any(line.startswith("INSTANCE ATTEMPTS/S FAILED/S") for line in traffic)


def test_an_ejected_instance_is_red_and_an_unused_one_is_not():
    styles = {}
    for instance_state in ("up", "unused", "ejected", "asleep"):
        traffic = traffic_table.Traffic(
            0.0, [], [traffic_table.TrafficRow("x", traffic_table.Rates(), 0, instance_state)]
        )
        styles[instance_state] = list(traffic_table.traffic_lines(traffic, "", "name", 80))[-1].style
    assert styles == {"up": "", "unused": "yellow", "ejected": "red", "asleep": "dim"}


def test_an_instance_and_a_model_that_are_asleep_are_shown_as_such():
    router = Router()
    router.state.replace_targets([target("a", "m", status="asleep", metadata={"on_demand": True}), target("b", "n")])
    now = router.scrape(100.0)
    traffic = traffic_table.traffic(now, now)
    assert {row.name: row.last for row in traffic.models} == {"m": "asleep", "n": "1"}
    assert {row.name: row.last for row in traffic.instances} == {"a": "asleep", "b": "up"}


def test_gpus_are_below_the_tables_and_get_a_third_of_the_height():
    gpus = {f"gpu{at}": HostUse("", [GpuUse(Gpu(index=0), {}, [])]) for at in range(40)}
    rows = [traffic_table.TrafficRow(f"i{at}", traffic_table.Rates(), 0, "up") for at in range(40)]
    lines = list(traffic_table.traffic_lines(traffic_table.Traffic(0.0, rows, rows, gpus), "", "name", 80, 24))
    assert len(lines) <= 24
    heads = [at for at, line in enumerate(lines) if line.plain.startswith(("MODEL", "INSTANCE", "GPU"))]
    assert len(heads) == 3
    assert len(lines) - heads[2] == 8


def test_the_tables_fit_80_columns_and_are_sorted():
    router = Router()
    before = router.scrape(100.0)
    router.served()
    traffic = traffic_table.traffic(before, router.scrape(100.001))
    text = [line.plain for line in traffic_table.traffic_lines(traffic, "http://127.0.0.1:8000", "load", 80)]
    assert max(map(len, text)) <= 80
    assert any(re.fullmatch(r"a +1000 +0 +\d+ +250 ms +0 +up", line) for line in text), text
    router.served(name="b")
    traffic = traffic_table.traffic(before, router.scrape(101.0))
    router.state.balancer.loads["b"] = 3
    traffic = traffic_table.traffic(before, router.scrape(101.0))
    text = [line.plain for line in traffic_table.traffic_lines(traffic, "", "load", 80)]
    names = [line.split()[0] for line in text if line[:2] in ("a ", "b ")]
    assert names == ["b", "a"]


def test_a_small_terminal_shows_the_worst_of_both_tables():
    def rows(last, states):
        return [
            traffic_table.TrafficRow(f"{last}{n}", traffic_table.Rates(), 0, state) for n, state in enumerate(states)
        ]

    traffic = traffic_table.Traffic(0.0, rows("m", "1111110"), rows("i", ["up"] * 20 + ["unused", "ejected"]))
    output = [line.plain for line in traffic_table.traffic_lines(traffic, "", "name", 80, 16)]
    assert len(output) == 16
    assert [line.split()[0] for line in output[4:9]] == ["m6", "m0", "m1", "m2", "…"]
    assert [line.split()[0] for line in output[11:15]] == ["i21", "i20", "i0", "i1"]
    assert output[15] == "… 18 more, all well"
    few = traffic_table.Traffic(0.0, traffic.models[:2], traffic.instances)
    assert len(list(traffic_table.traffic_lines(few, "", "name", 80, 16))) == 16, (
        "one table gets the lines that the other does not need"
    )


def test_a_narrow_terminal_keeps_the_state_column():
    traffic = traffic_table.Traffic(
        0.0, [], [traffic_table.TrafficRow("quite-a-name", traffic_table.Rates(), 0, "ejected")]
    )
    output = [line.plain for line in traffic_table.traffic_lines(traffic, "", "name", 64)]
    assert max(map(len, output[4:])) <= 64
    assert output[-1].split() == ["quite-a-name", "0", "0", "0", "0", "ejected"], "without FIRST"
