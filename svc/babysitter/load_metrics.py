"""Reads an engine's load for the routers' policies from the text of its /metrics. Pure.

    engine     running                 waiting               KV cache               tokens per second
    vLLM       num_requests_running    num_requests_waiting  kv_cache_usage_perc    generation_tokens_total
    older                                                    gpu_cache_usage_perc
    SGLang     num_running_reqs        num_queue_reqs        token_usage            gen_throughput
    llama.cpp  requests_processing     requests_deferred     kv_cache_usage_ratio   predicted_tokens_seconds
    TGI        tgi_batch_current_size  tgi_queue_size

The names are those of vLLM 0.4 to 0.11, SGLang 0.4 and 0.5, llama.cpp's server, and text-generation-inference 1 to 3.
"""

import dataclasses
import math
import re

from svc.protocol.instance_load import MAX_COUNT, MAX_TOKENS_PER_SECOND

RUNNING = frozenset(("num_requests_running", "num_running_reqs", "requests_processing", "tgi_batch_current_size"))
WAITING = frozenset(("num_requests_waiting", "num_queue_reqs", "requests_deferred", "tgi_queue_size"))
KV_CACHE = frozenset(("gpu_cache_usage_perc", "kv_cache_usage_perc", "token_usage", "kv_cache_usage_ratio"))
TOKENS = frozenset(("generation_tokens_total",))
TOKEN_RATE = frozenset(("gen_throughput", "predicted_tokens_seconds"))
NAMES = "|".join(sorted(RUNNING | WAITING | KV_CACHE | TOKENS | TOKEN_RATE))
SAMPLE = re.compile(rf"^(?:[a-z]\w*:)?({NAMES})(\{{.*\}})? ([0-9.eE+-]+)", re.M)
# Samples in which SGLang reports requests again: with --enable-metrics-for-all-schedulers, each tensor parallel rank
# reports all of them; with priorities, there is a sample for each priority beside the one for all.
REPEATED = re.compile(r'tp_rank="[1-9]|priority="[^"]')


@dataclasses.dataclass(frozen=True, slots=True)
class LoadSample:
    """The load in one reading of the metrics; None for each value that the engine does not report."""

    running: int
    waiting: int
    kv_cache: float | None = None
    tokens: float | None = None  # number of tokens generated since the engine's start
    tokens_per_second: float | None = None


def parse_load(text: str) -> LoadSample | None:
    """Return the load in an engine's metrics, or None if they do not have the number of running requests.

    The requests of data parallel ranks are added, and the usage of their KV caches is averaged.
    """
    values: dict[str, list[float]] = {}
    for name, labels, value in SAMPLE.findall(text):
        if not (labels and REPEATED.search(labels)) and (number := _number(value)) is not None:
            values.setdefault(name, []).append(number)
    running, waiting = _sum(values, RUNNING), _sum(values, WAITING)
    if running is None:
        return None
    cache = [value for name in KV_CACHE for value in values.get(name, ())]
    return LoadSample(
        running=int(min(running, MAX_COUNT)),
        waiting=int(min(waiting or 0, MAX_COUNT)),
        kv_cache=min(1.0, sum(cache) / len(cache)) if cache else None,
        tokens=_sum(values, TOKENS),
        tokens_per_second=_sum(values, TOKEN_RATE),
    )


def token_rate(before: LoadSample | None, after: LoadSample, seconds: float) -> float | None:
    """Return the tokens per second between two samples, else what the engine reports; None if neither is known.

    A counter that has decreased belongs to an engine that was restarted.
    """
    rate = after.tokens_per_second
    if before is not None and before.tokens is not None and after.tokens is not None and seconds > 0:
        rate = (after.tokens - before.tokens) / seconds if after.tokens >= before.tokens else None
    return rate if rate is None or rate <= MAX_TOKENS_PER_SECOND else None  # also None for NaN


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _sum(values: dict[str, list[float]], names: frozenset[str]) -> float | None:
    samples = [value for name in names for value in values.get(name, ())]
    return sum(samples) if samples else None
