"""The load of an engine, read from its own metrics or from the router's."""

import json

import pytest

from svc.babysitter.engine_load import EngineLoadReader, MetricsPage, parse_engine, parse_slots
from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad, generated_between

VLLM = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="q"} 2.0
vllm:num_requests_waiting{engine="0",model_name="q"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="q"} 120.0
vllm:generation_tokens_total{engine="0",model_name="q"} 34.0
vllm:generation_tokens_created{engine="0",model_name="q"} 1.7e+09
vllm:request_generation_tokens_sum{engine="0",model_name="q"} 99.0
"""
SGLANG = """\
sglang:prompt_tokens_total{model_name="q"} 8.128902e+06
sglang:generation_tokens_total{model_name="q"} 7.5e+06
sglang:token_usage{model_name="q"} 0.28
sglang:num_running_reqs{model_name="q"} 161.0
sglang:num_queue_reqs{model_name="q"} 3.0
"""
LLAMA = """\
llamacpp:prompt_tokens_total 24
llamacpp:tokens_predicted_total 7
llamacpp:n_decode_total 9
llamacpp:predicted_tokens_seconds 31.5
llamacpp:requests_processing 1
llamacpp:requests_deferred 0
"""
MOCK = "mock:generation_tokens_total 12\nmock:num_requests_running 1\n"
ROUTER = """\
svc_router_attempts_answered_total{instance="q.1-server"} 5.0
svc_router_attempts_answered_total{instance="qx1-server"} 9.0
svc_router_requests_in_flight{instance="q.1-server"} 2.0
"""


def slots_text(n_decoded=3, busy=True):
    first = {"id": 0, "id_task": 7, "is_processing": busy, "next_token": [{"n_decoded": n_decoded}], "params": {}}
    return json.dumps([first, {"id": 1, "is_processing": False}])


def read(pages, router=""):
    def get(url, timeout):
        return pages.get(url)

    page = MetricsPage(["http://here", "http://there"], get)
    return EngineLoadReader(page, router, "q.1-server", get).read()


@pytest.mark.parametrize(
    ("text", "counters", "running"),
    [
        (VLLM, ("120.0", "34.0"), 3),
        (SGLANG, ("8.128902e+06", "7.5e+06"), 164),
        (LLAMA, ("24", "7", "9"), 1),
        (MOCK, ("12",), 1),
    ],
)
def test_the_metrics_of_each_engine_give_tokens_and_requests(text, counters, running):
    assert read({"http://here/metrics": text}) == EngineLoad("engine", counters, running)


def test_the_second_url_is_read_when_the_first_does_not_answer():
    assert read({"http://there/metrics": MOCK}).counters == ("12",)


def test_llama_cpp_without_metrics_is_read_from_its_slots():

    def read_slots(text):
        return read({"http://here/metrics": "", "http://here/slots": text})

    before, after = read_slots(slots_text(3)), read_slots(slots_text(4))
    assert (before.source, before.running) == ("slots", 1)
    assert generated_between(before, after)
    assert not generated_between(before, read_slots(slots_text(3)))


def test_the_router_is_read_when_the_engine_counts_nothing():
    pages = {"http://here/metrics": "# nothing\n", "http://here/slots": "", "http://r/metrics": ROUTER}
    assert read(pages, "http://r") == EngineLoad("router", ("5.0",), 2)
    assert read(pages) == UNKNOWN_LOAD


@pytest.mark.parametrize("text", ["[", "[1]", "[{}]", '{"error": 1}', "<html>", ""])
def test_a_slots_page_of_another_kind_gives_an_unknown_load(text):
    assert read({"http://here/metrics": "", "http://here/slots": text}) == UNKNOWN_LOAD


def test_readers_of_the_same_moment_share_a_get():
    urls, now = [], [0.0]

    def get(url, timeout):
        urls.append(url)
        return MOCK

    page = MetricsPage(["http://here"], get, lambda: now[0])
    reader = EngineLoadReader(page, "", "q.1-server", get)
    assert page.read() == ("http://here", MOCK)
    now[0] = 1.5
    assert reader.read(max_age=2.0).counters == ("12",)
    assert urls == ["http://here/metrics"]
    reader.read()
    now[0] = 4.0
    reader.read(max_age=2.0)
    assert urls == ["http://here/metrics"] * 3


@pytest.mark.parametrize("gauge", ["NaN", "+Inf", "1e999", "{x"])
def test_gauges_that_are_no_counts_leave_the_number_of_requests_unknown(gauge):
    text = f"vllm:num_requests_running {gauge}\nvllm:generation_tokens_total 5\n"
    assert parse_engine(text) == EngineLoad("engine", ("5",), None)


def test_slots_that_are_nested_too_deeply_are_unknown():
    assert parse_slots("[" * 100_000) is None
