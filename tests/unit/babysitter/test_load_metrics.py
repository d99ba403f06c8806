"""The load in the metrics of each engine, in the shape in which that engine reports them."""

import pytest

from svc.babysitter.load_metrics import LoadSample, parse_load, token_rate

VLLM_1 = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="q"} 24.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="q"} 72.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="q",reason="capacity"} 72.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="q",reason="deferred"} 0.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
vllm:kv_cache_usage_perc{engine="0",model_name="q"} 0.3412
vllm:prompt_tokens_total{engine="0",model_name="q"} 1.234e+06
vllm:generation_tokens_total{engine="0",model_name="q"} 6789.0
vllm:generation_tokens_created{engine="0",model_name="q"} 1.789056823729462e+09
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="q"} 5.0
"""
VLLM_0 = """\
vllm:num_requests_waiting{model_name="x"} 12.0
vllm:gpu_cache_usage_perc{model_name="x"} 0.35
vllm:cpu_cache_usage_perc{model_name="x"} 0.9
vllm:num_requests_running{model_name="x"} 5.0
"""
VLLM_DATA_PARALLEL = """\
vllm:num_requests_running{engine="0",model_name="a {b}"} 3.0
vllm:num_requests_running{engine="1",model_name="a {b}"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a {b}"} 2.0
vllm:num_requests_waiting{engine="1",model_name="a {b}"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="a {b}"} 0.9
vllm:kv_cache_usage_perc{engine="1",model_name="a {b}"} 0.1
vllm:generation_tokens_total{engine="0",model_name="a {b}"} 10.0
vllm:generation_tokens_total{engine="1",model_name="a {b}"} 5.0
"""
SGLANG = """\
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# TYPE sglang:num_used_tokens gauge
sglang:num_used_tokens{model_name="meta-llama/Llama-3.1-8B-Instruct"} 123859.0
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
sglang:gen_throughput{model_name="meta-llama/Llama-3.1-8B-Instruct"} 86.50814177726902
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
sglang:num_running_reqs_extra 9
"""
SGLANG_ALL_RANKS = """\
sglang:num_running_reqs{engine_type="unified",model_name="q",priority="",tp_rank="0"} 4.0
sglang:num_running_reqs{engine_type="unified",model_name="q",priority="3",tp_rank="0"} 4.0
sglang:num_running_reqs{engine_type="unified",model_name="q",priority="",tp_rank="1"} 4.0
sglang:num_queue_reqs{engine_type="unified",model_name="q",priority="",tp_rank="0"} 1.0
sglang:num_queue_reqs{engine_type="unified",model_name="q",priority="",tp_rank="1"} 1.0
"""
LLAMA_CPP = """\
# HELP llamacpp:predicted_tokens_seconds Average generation throughput in tokens/s.
# TYPE llamacpp:predicted_tokens_seconds gauge
llamacpp:predicted_tokens_seconds 93.634
llamacpp:prompt_tokens_seconds 400.5
# HELP llamacpp:kv_cache_usage_ratio KV-cache usage. 1 means 100 percent usage.
llamacpp:kv_cache_usage_ratio 0.2
llamacpp:requests_processing 2
llamacpp:requests_deferred 1
llamacpp:n_busy_slots_per_decode nan
"""
TGI = """\
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 5
tgi_batch_current_max_tokens 8192
# TYPE tgi_queue_size gauge
tgi_queue_size 3
"""
MOCK = """\
mock:generation_tokens_total 12
mock:num_requests_running 1
mock:num_requests_waiting 0
mock:kv_cache_usage_perc 0.0
"""


@pytest.mark.parametrize(
    ("text", "sample"),
    [
        (VLLM_1, LoadSample(24, 72, 0.3412, tokens=6789.0)),
        (VLLM_0, LoadSample(5, 12, 0.35)),
        (VLLM_DATA_PARALLEL, LoadSample(4, 2, 0.5, tokens=15.0)),
        (SGLANG, LoadSample(162, 2826, 0.28, tokens_per_second=86.50814177726902)),
        (SGLANG_ALL_RANKS, LoadSample(4, 1)),
        (LLAMA_CPP, LoadSample(2, 1, 0.2, tokens_per_second=93.634)),
        (TGI, LoadSample(5, 3)),
        (MOCK, LoadSample(1, 0, 0.0, tokens=12.0)),
    ],
)
def test_the_load_of_each_engine_is_read(text, sample):
    assert parse_load(text) == sample


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "process_cpu_seconds_total 12.5\n", "app_queue_size 3\nhttp_batch_current_size 1\n", VLLM_0[:45]],
)
def test_an_unknown_page_gives_no_load(text):
    assert parse_load(text) is None


@pytest.mark.parametrize("value", ["NaN", "-3", "+Inf", "e", "--", "1e999"])
def test_values_that_cannot_be_counts_are_ignored(value):
    assert parse_load(f"vllm:num_requests_running {value}\n") is None
    text = f"vllm:num_requests_running 1\nvllm:kv_cache_usage_perc {value}\n"
    assert parse_load(text) == LoadSample(1, 0)


def test_values_above_what_a_registry_takes_are_limited():
    text = "vllm:num_requests_running 1e12\nvllm:kv_cache_usage_perc 35.0\n"
    assert parse_load(text) == LoadSample(1_000_000, 0, 1.0)


def test_the_token_rate_comes_from_the_counter():
    before, after = LoadSample(1, 0, tokens=100.0), LoadSample(1, 0, tokens=150.0)
    assert token_rate(before, after, 2.0) == 25.0
    assert token_rate(None, after, 2.0) is None
    assert token_rate(after, before, 2.0) is None, "the engine was restarted"
    assert token_rate(before, LoadSample(1, 0, tokens_per_second=7.0), 2.0) == 7.0


def test_counts_whose_sum_is_infinite_are_limited():
    text = 'requests_processing{a="1"} 1e308\nrequests_processing{a="2"} 1e308\nrequests_deferred 1e308\n'
    assert parse_load(text) == LoadSample(1_000_000, 1_000_000)


@pytest.mark.parametrize("tokens", [1e300, float("inf")])
def test_a_token_rate_that_no_registry_takes_is_unknown(tokens):
    huge = LoadSample(1, 0, tokens=tokens)
    assert token_rate(LoadSample(1, 0, tokens=1.0), huge, 2.0) is None
    assert token_rate(LoadSample(1, 0, tokens=float("inf")), LoadSample(1, 0, tokens=float("inf")), 2.0) is None
    assert token_rate(None, LoadSample(1, 0, tokens_per_second=1e12), 2.0) is None
