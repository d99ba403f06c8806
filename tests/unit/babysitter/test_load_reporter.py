"""When the babysitter reads the engine's load, and what it reports."""

import dataclasses

import pytest

from svc.babysitter.engine_load import MetricsPage
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.load_reporter import MAX_PAGE_CHARS, RETRY_INTERVAL_SECONDS, LoadReporter
from svc.protocol.instance_load import InstanceLoad
from tests.unit.babysitter.fake_instance import FakeInstance, models


class Reporting:
    def __init__(self) -> None:
        self.instance = FakeInstance()
        self.text: str | None = metrics(0)
        self.accepted: bool | None = True
        self.reads, self.sent = 0, []
        page = MetricsPage(["http://here"], self.get, lambda: self.instance.now)
        self.reporter = LoadReporter(self.instance.monitor, page, self.send, lambda: self.instance.now)

    def get(self, url, timeout):
        self.reads += 1
        return self.text

    def send(self, load):
        self.sent.append(load)
        return self.accepted

    def run(self):
        self.instance.models = models("a")
        while self.instance.advance() is not LifecycleState.RUNNING:
            pass

    def run_round(self, text="same"):
        self.text = self.text if text == "same" else text
        return self.reporter.run_round()


def metrics(tokens, running=2):
    return f"vllm:num_requests_running {running}\nvllm:num_requests_waiting 1\nvllm:generation_tokens_total {tokens}\n"


@pytest.fixture
def reporting():
    return Reporting()


def test_the_load_of_a_running_engine_is_reported_with_its_token_rate(reporting):
    reporting.run()
    assert reporting.run_round(metrics(100)) == 2
    reporting.instance.now += 2.0
    assert reporting.run_round(metrics(150)) == 2
    assert reporting.sent == [
        InstanceLoad(running=2, waiting=1, interval=2),
        InstanceLoad(running=2, waiting=1, tokens_per_second=25.0, interval=2),
    ]


def test_nothing_is_read_before_the_engine_is_ready(reporting):
    assert reporting.run_round() == 2
    reporting.instance.advance()
    assert reporting.run_round() == 2
    assert reporting.reads == 0


def test_a_restart_begins_a_new_token_rate(reporting):
    reporting.run()
    reporting.run_round(metrics(100))
    reporting.instance.process = dataclasses.replace(ProcessSnapshot("RUNNING", 8), restarts=1)
    reporting.run()
    reporting.run_round(metrics(150))
    assert reporting.sent[-1].tokens_per_second is None


def test_an_engine_without_these_metrics_is_read_rarely_and_reports_nothing(reporting):
    reporting.run()
    assert reporting.run_round("# nothing\n") == RETRY_INTERVAL_SECONDS
    assert reporting.run_round("") == RETRY_INTERVAL_SECONDS
    assert not reporting.sent


def test_an_engine_that_does_not_answer_in_time_reports_nothing(reporting):
    reporting.run()
    assert reporting.run_round(None) == 2
    assert not reporting.sent


def test_a_registry_that_takes_no_loads_gets_them_rarely(reporting):
    reporting.run()
    reporting.accepted = False
    assert reporting.run_round() == RETRY_INTERVAL_SECONDS
    reporting.accepted = None
    assert reporting.run_round() == 2, "it does not answer now"


def test_a_page_that_is_too_long_is_not_parsed_and_read_less_often(reporting):
    reporting.run()
    assert reporting.run_round(metrics(100) + "#" * MAX_PAGE_CHARS) == RETRY_INTERVAL_SECONDS
    assert reporting.sent == []
