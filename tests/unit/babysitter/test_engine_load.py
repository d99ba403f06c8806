"""Other requests, as engines and the router count them."""

import json

import pytest

from svc.babysitter.engine_load import Traffic
from svc.babysitter.health_rules import NOTHING, Reading, moved

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


def slots(n_decoded=3, busy=True):
    one = {"id": 0, "id_task": 7, "is_processing": busy, "next_token": [{"n_decoded": n_decoded}], "params": {}}
    return json.dumps([one, {"id": 1, "is_processing": False}])


def read(pages, router=""):
    return Traffic(["http://here", "http://there"], router, "q.1-server", lambda url, _: pages.get(url)).read()


@pytest.mark.parametrize(
    ("text", "counters", "running"),
    [
        (VLLM, ("120.0", "34.0"), 3),
        (SGLANG, ("8.128902e+06", "7.5e+06"), 164),
        (LLAMA, ("24", "7", "9"), 1),
        (MOCK, ("12",), 1),
    ],
)
def test_engines_count_their_tokens_and_requests(text, counters, running):
    assert read({"http://here/metrics": text}) == Reading("engine", counters, running)


def test_the_second_address_is_read_where_the_first_gives_no_answer():
    assert read({"http://there/metrics": MOCK}).counters == ("12",)


def test_llama_without_metrics_tells_of_its_slots():
    here = lambda text: read({"http://here/metrics": "", "http://here/slots": text})  # noqa: E731
    before, after = here(slots(3)), here(slots(4))
    assert (before.source, before.running) == ("slots", 1)
    assert moved(before, after)
    assert not moved(before, here(slots(3)))


def test_the_router_is_asked_where_the_engine_counts_nothing():
    pages = {"http://here/metrics": "# nothing\n", "http://here/slots": "", "http://r/metrics": ROUTER}
    assert read(pages, "http://r") == Reading("router", ("5.0",), 2)
    assert read(pages) == NOTHING


@pytest.mark.parametrize("text", ["[", "[1]", "[{}]", '{"error": 1}', "<html>", ""])
def test_whatever_else_stands_at_slots_says_nothing(text):
    assert read({"http://here/metrics": "", "http://here/slots": text}) == NOTHING
