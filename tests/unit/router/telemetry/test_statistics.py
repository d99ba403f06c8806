import pytest

from svc.router.telemetry.statistics import MAX_UNKNOWN_MODELS, UNKNOWN_MODEL, Histogram, Statistics
from tests.unit.router.telemetry.records import record


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.1, 1), (2.0, 1), (2.1, 2)])
def test_a_bucket_counts_values_up_to_its_bound(value: float, bucket: int):
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    assert histogram.counts[bucket] == sum(histogram.counts) == 1
    assert histogram.sum == value


@pytest.mark.parametrize(
    ("tail", "used"),
    [
        (b'"usage":{"prompt_tokens":7,"completion_tokens":5}', (7, 5)),
        (b'"usage": {"input_tokens": 7, "output_tokens": 5}', (7, 5)),
        (b'"usage" : {"input_tokens" : 7}', (7, None)),
        (b'{"usage":{"input_tokens":7,"output_tokens":1}} ... {"usage":{"output_tokens":5}}', (7, 5)),
        (b'"text": "\\"prompt_tokens\\": 9"', (None, None)),
        (b'"usage":{"prompt_tokens":null}', (None, None)),
        (b"", (None, None)),
    ],
)
def test_usage_is_read_in_the_formats_of_all_dialects(tail: bytes, used: tuple[int | None, int | None]):
    statistics, request = Statistics(), record()
    statistics.record_request(request, None, tail, "m")
    assert (request.prompt_tokens, request.completion_tokens) == used
    assert dict(statistics.models["m"].tokens) == {
        kind: count for kind, count in zip(("prompt", "completion"), used, strict=True) if count
    }


def test_cached_tokens_are_counted_beside_the_prompt_tokens():
    statistics = Statistics()
    statistics.record_request(record(), None, b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}', "m")
    assert statistics.models["m"].tokens == {"prompt": 9, "cached": 4}


def test_time_per_token_is_that_after_the_first_token():
    statistics = Statistics()
    statistics.record_request(record(first_byte=0.25, duration=1.5), 0.5, b'{"completion_tokens": 11}', "m")
    model = statistics.models["m"]
    assert (model.time_per_token.sum, model.duration.sum) == (0.1, 1.5)
    statistics.record_request(record(), 0.5, b'{"completion_tokens": 1}', "m")  # no token after the first
    statistics.record_request(record(), None, b'{"completion_tokens": 11}', "m")  # no stream
    assert (sum(model.time_per_token.counts), sum(model.duration.counts)) == (1, 3)


def test_requests_are_counted_by_key_and_unknown_models_under_one_label():
    statistics = Statistics()
    for n in range(100):
        statistics.record_request(record(model=f"m{n}", status=503, key="ci"), None, b"", UNKNOWN_MODEL)
    assert statistics.models[UNKNOWN_MODEL].statuses == {503: 100}
    assert statistics.keys == {"ci": 100}


def test_failed_requests_for_unknown_models_are_counted_by_name_without_growing():
    statistics = Statistics()
    for name in ("gema", *(f"m{n}" for n in range(MAX_UNKNOWN_MODELS - 1)), "gema", "new", "x" * 1000):
        statistics.record_request(record(model=name, status=404), None, b"", UNKNOWN_MODEL)
    statistics.record_request(record(model="answered", status=200), None, b"", UNKNOWN_MODEL)
    names = statistics.unknown_models
    assert (len(names), names["gema"], names["new"]) == (MAX_UNKNOWN_MODELS, 2, 1)
    assert "m0" not in names, "the one that was unused for longest is forgotten"
    assert max(map(len, names)) == 64


# Statistics of several processes.


def counted(instance: str = "a", model: str = "m", key: str = "ci", end: str = "done") -> Statistics:
    """Return what a process counts for one streamed request."""
    statistics = Statistics()
    request = record(instance=instance, model=model, key=key, end=end)
    statistics.record_request(request, 0.5, b'{"prompt_tokens":9,"completion_tokens":5}', model)
    statistics.record_tokens(instance, model, 5, first_token=0.5)
    counts = statistics.instances[instance]
    counts.requests, counts.answered, counts.errors, counts.seconds = 1, 1, 1, 1.5
    return statistics


def test_counts_of_several_processes_are_those_of_one_that_did_everything():
    total = Statistics()
    for _ in range(2):
        total.add(counted())
    total.add(counted("b", "n", "web", end="cut"))
    a, m, n = total.instances["a"], total.models["m"], total.models["n"]
    assert (a.requests, a.answered, a.errors, a.seconds) == (2, 2, 2, 3.0)
    assert (a.tokens, a.first_tokens, a.first_token_seconds) == (10, 2, 1.0)
    assert (m.statuses, m.tokens, m.produced_tokens) == ({200: 2}, {"prompt": 18, "completion": 10}, 10)
    assert (n.failures, n.broken, total.instances["b"].requests) == ({"cut": 1}, {"cut": 1}, 1)
    for histogram, value in ((m.duration, 1.5), (m.time_to_first_token, 0.5), (m.time_per_token, 0.25)):
        assert (sum(histogram.counts), histogram.sum) == (2, 2 * value)
    assert total.keys == {"ci": 2, "web": 1}


def test_adding_leaves_the_added_counts_and_shares_nothing_with_them():
    total, one = Statistics(), counted()
    total.add(one)
    total.add(one)
    total.record_tokens("a", "m", 5)
    assert (one.instances["a"].tokens, one.models["m"].statuses, one.keys) == (5, {200: 1}, {"ci": 1})


def test_added_names_of_unknown_models_stay_as_few_as_one_process_keeps():
    total = Statistics()
    for part in range(3):
        process = Statistics()
        for number in range(MAX_UNKNOWN_MODELS // 2):
            request = record(model=f"{part}.{number}", status=404)
            process.record_request(request, None, b"", UNKNOWN_MODEL)
            process.record_request(request, None, b"", UNKNOWN_MODEL)
        total.add(process)
    assert len(total.unknown_models) == MAX_UNKNOWN_MODELS
    assert total.unknown_models["2.0"] == 2
    assert "0.0" not in total.unknown_models


def test_counts_that_are_taken_begin_again_at_zero():
    statistics = counted()
    taken = statistics.take()
    assert statistics.take() is None
    assert (taken.instances["a"].requests, taken.models["m"].statuses, taken.keys) == (1, {200: 1}, {"ci": 1})
    statistics.add(counted())
    statistics.record_tokens("new", "new model", 1)
    assert statistics.take().instances["a"].requests == 1
    assert (taken.instances["a"].requests, "new" in taken.instances) == (1, False)


@pytest.mark.parametrize("part", ["instances", "models", "keys"])
def test_every_count_is_taken_also_if_it_is_the_only_one(part: str):
    statistics = Statistics()
    getattr(statistics, part)["x"]  # a defaultdict
    assert list(getattr(statistics.take(), part)) == ["x"]
