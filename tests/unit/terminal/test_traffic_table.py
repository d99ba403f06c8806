"""What `svc top` makes of two scrapes."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from svc.client import router_metrics
from svc.router.telemetry.metrics import RouterMetrics
from svc.terminal import traffic_table
from tests.unit.router.made import state, target
from tests.unit.router.telemetry.test_access_log import record


class Router:
    def __init__(self):
        self.state = state(target("a", "m"), target("b", "m", "n", status="starting"))

    def served(self, status=200, end="done", tokens=10, first=0.25, name="a"):
        of = next(t for t in self.state.table.targets if t.name == name)
        self.state.begin(of, False)
        self.state.observe(of, 0.5, failed=status >= 500)
        told = record(model="m", instance=name, status=status, end=end, first_byte=first, completion_tokens=tokens)
        self.state.recorder.ended(told, True, b"", "m")
        self.state.produced(name, "m", tokens or 10, first)

    def refused(self, label):
        """A request that no instance got."""
        self.state.recorder.ended(record(model=None, instance="", status=503, end="refused"), False, b"", label)

    def look(self, now):
        registry = CollectorRegistry()
        registry.register(RouterMetrics(self.state))
        return router_metrics.scrape(generate_latest(registry).decode(), now)


def test_rates_are_those_between_two_scrapes():
    router = Router()
    router.served()
    before = router.look(100.0)
    for _ in range(3):
        router.served()
    router.served(status=503, tokens=0)
    router.served(status=499, tokens=0)
    router.served(end="cut")
    told = traffic_table.frame(before, router.look(102.0))
    (model,) = [row for row in told.models if row.name == "m"]
    assert model.rates.requests == 3.0
    assert model.rates.errors == 1.0, "the status 503, and the one that was cut; who leaves is nobody's error"
    assert model.rates.first_token == 0.25
    assert (model.load, model.last) == (0, "1")
    a, b = told.instances
    assert (a.name, a.rates.requests, a.last) == ("a", 3.0, "up")
    assert (b.name, b.rates.requests, b.last) == ("b", 0.0, "unused")


def test_an_unfinished_first_stream_shows_its_tokens():
    router = Router()
    before = router.look(100.0)
    router.state.produced("a", "m", 40, 0.25)
    model = traffic_table.frame(before, router.look(102.0)).models[0]
    assert (model.rates.requests, model.rates.tokens, model.rates.first_token) == (0.0, 20.0, 0.25)


def test_a_restarted_router_counts_from_zero():
    before = Router()
    for _ in range(9):
        before.served()
    after = Router()
    after.served()
    told = traffic_table.frame(before.look(100.0), after.look(101.0))
    assert {row.name: row.rates.requests for row in told.models} == {"m": 1.0, "n": 0.0}


def text(frame):
    return [" ".join(line.plain.split()) for line in traffic_table.lines(frame, "", "name", 80)]


@pytest.mark.parametrize("text", ["", "svc_registry_services 3\n", "python_info 1\n", "<html>"])
def test_metrics_of_another_program_are_refused(text):
    with pytest.raises(ValueError, match="."):
        router_metrics.scrape(text, 0.0)


def test_a_model_without_instances_has_a_row_while_it_is_asked_for():
    router = Router()
    before = router.look(100.0)
    for label in ("unknown", "unknown", "", "gone"):
        router.refused(label)
    now = router.look(101.0)
    told = traffic_table.frame(before, now)
    assert {row.name: (row.rates.errors, row.last) for row in told.models} == {
        "": (1.0, "0"),
        "gone": (1.0, "0"),
        "m": (0.0, "1"),
        "n": (0.0, "0"),
        "unknown": (2.0, "0"),
    }
    shown = text(told)
    assert {"(no such model) 2 2 0 - 0 -", "(no model) 1 1 0 - 0 -", "gone 1 1 0 - 0 0"} <= set(shown)
    assert {row.name for row in traffic_table.frame(now, router.look(102.0)).models} == {"m", "n"}


def test_the_headline_counts_requests_and_not_attempts():
    router = Router()
    before = router.look(100.0)
    a, b = router.state.table.targets
    router.state.begin(b, False)
    router.state.observe(b, 0.5, failed=True)
    router.served()
    router.refused("unknown")
    told = text(traffic_table.frame(before, router.look(101.0)))
    assert told[1] == "2 requests/s, 1 errors/s, 10 tokens/s, 0 in flight, 0 queued"
    assert any(line.startswith("INSTANCE ATTEMPTS/S FAILED/S") for line in told)


def test_an_ejected_instance_is_red_and_an_unused_one_is_not():
    styles = {}
    for word in ("up", "unused", "ejected"):
        frame = traffic_table.Frame(0.0, [], [traffic_table.Row("x", traffic_table.Rates(), 0, word)])
        styles[word] = list(traffic_table.lines(frame, "", "name", 80))[-1].style
    assert styles == {"up": "", "unused": "yellow", "ejected": "red"}


def test_the_tables_fit_80_columns_and_are_sorted():
    router = Router()
    before = router.look(100.0)
    router.served()
    told = traffic_table.frame(before, router.look(100.001))
    text = [line.plain for line in traffic_table.lines(told, "http://127.0.0.1:8000", "load", 80)]
    assert max(map(len, text)) <= 80
    assert any(re.fullmatch(r"a +1000 +0 +\d+ +250 ms +0 +up", line) for line in text), text
    router.served(name="b")
    told = traffic_table.frame(before, router.look(101.0))
    router.state.loads["b"] = 3
    told = traffic_table.frame(before, router.look(101.0))
    text = [line.plain for line in traffic_table.lines(told, "", "load", 80)]
    names = [line.split()[0] for line in text if line[:2] in ("a ", "b ")]
    assert names == ["b", "a"]


def test_a_small_terminal_shows_the_worst_of_both_tables():
    def rows(last, words):
        return [traffic_table.Row(f"{last}{n}", traffic_table.Rates(), 0, word) for n, word in enumerate(words)]

    told = traffic_table.Frame(0.0, rows("m", "1111110"), rows("i", ["up"] * 20 + ["unused", "ejected"]))
    shown = [line.plain for line in traffic_table.lines(told, "", "name", 80, 16)]
    assert len(shown) == 16
    assert [line.split()[0] for line in shown[4:9]] == ["m6", "m0", "m1", "m2", "…"]
    assert [line.split()[0] for line in shown[11:15]] == ["i21", "i20", "i0", "i1"]
    assert shown[15] == "… 18 more, all well"
    few = traffic_table.Frame(0.0, told.models[:2], told.instances)
    assert len(list(traffic_table.lines(few, "", "name", 80, 16))) == 16, "what one table does not need is the other's"


def test_a_narrow_terminal_keeps_the_state_column():
    told = traffic_table.Frame(0.0, [], [traffic_table.Row("quite-a-name", traffic_table.Rates(), 0, "ejected")])
    shown = [line.plain for line in traffic_table.lines(told, "", "name", 64)]
    assert max(map(len, shown[4:])) <= 64
    assert shown[-1].split() == ["quite-a-name", "0", "0", "0", "0", "ejected"], "without FIRST"
