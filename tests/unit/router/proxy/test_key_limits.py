"""What a key may send: requests a minute, requests at once, tokens; and the headers that say so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import RateLimited
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.key_limits import KeyLimits, duration

rates = st.integers(1, 10_000)
pauses = st.lists(st.floats(0, 120), min_size=1, max_size=200)


def limits(**values: int | None) -> KeyLimits:
    key = ApiKey("ci")
    key.set_limits(**values)
    return key


def admitted(key: KeyLimits, now: float) -> bool:
    try:
        key.admit(now)
    except RateLimited:
        return False
    return True


def refusal(key: KeyLimits, now: float) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        key.admit(now)
    return caught.value


# The bucket.


@given(rates)
def test_a_bucket_starts_with_exactly_a_minutes_worth(rate):
    key = limits(requests_per_minute=rate)
    assert [admitted(key, 5.0) for _ in range(rate + 1)] == [True] * rate + [False]


@given(rates, st.floats(0, 1e6), pauses)
def test_no_period_admits_more_than_the_bucket_and_its_refill(rate, start, gaps):
    key, now, times = limits(requests_per_minute=rate), start, []
    for gap in gaps:
        now += gap / rate
        while len(times) < 500 and admitted(key, now):
            times.append(now)
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 11):
            flowed = rate * (1 + (times[last] - times[first]) / 60)
            assert last - first + 1 <= flowed + 1e-3


@given(rates, pauses)
def test_a_refused_request_is_admitted_after_its_retry_after(rate, gaps):
    key, now = limits(requests_per_minute=rate), 1000.0
    for _ in range(rate):
        key.admit(now)
    for gap in gaps:
        now += gap / rate
        try:
            key.admit(now)
        except RateLimited as error:
            now += error.retry_after
            key.admit(now)


@given(rates)
def test_a_minute_fills_an_empty_bucket_and_more_does_not_overfill_it(rate):
    for pause in (60.0, 6000.0):
        key = limits(requests_per_minute=rate)
        while admitted(key, 7.0):
            pass
        assert sum(admitted(key, 7.0 + pause) for _ in range(rate + 5)) == rate


@given(rates, st.integers(1, 500))
def test_a_steady_client_at_its_rate_is_never_refused(rate, requests):
    key = limits(requests_per_minute=rate)
    assert all(admitted(key, 50 + number * 60 / rate) for number in range(requests))


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    key = limits(requests_per_minute=1)
    key.admit(100.0)
    assert not admitted(key, 50.0)
    assert not admitted(key, 100.0)
    assert not admitted(key, 159.0)
    assert admitted(key, 160.0)


def test_a_refusal_costs_nothing():
    key = limits(requests_per_minute=60)
    while admitted(key, 0.0):
        pass
    for tenth in range(1, 10):
        assert not admitted(key, tenth / 10)
    assert admitted(key, 1.0)
    assert key.in_flight == 61


# The gate.


def test_a_refusal_is_a_429_with_whole_seconds_to_wait():
    key = limits(requests_per_minute=2)
    key.admit(0.0)
    key.admit(0.0)
    with pytest.raises(RateLimited) as caught:
        key.admit(0.5)
    error = caught.value
    assert (error.status, error.type, error.code, error.retry_after) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        30,
    )
    assert error.message == (
        "Rate limit reached for key ci on requests per min (RPM): Limit 2. Please try again in 30s."
    )


def test_as_many_at_once_as_allowed_and_the_next_when_one_is_done():
    key = limits(concurrency=2)
    key.admit(0.0)
    key.admit(0.0)
    with pytest.raises(RateLimited, match="concurrent requests: Limit 2") as caught:
        key.admit(0.0)
    assert caught.value.retry_after == 1
    key.release()
    key.admit(0.0)
    assert key.in_flight == 2


def test_a_refusal_for_concurrency_takes_no_token():
    key = limits(requests_per_minute=2, concurrency=1)
    key.admit(0.0)
    assert not admitted(key, 0.0)
    key.release()
    assert admitted(key, 0.0)


def test_without_limits_all_are_admitted_and_counted():
    key = limits()
    for _ in range(1000):
        key.admit(0.0)
    assert key.in_flight == 1000


def test_releasing_more_than_was_admitted_is_a_fault():
    key = limits()
    key.admit(0.0)
    key.release()
    with pytest.raises(AssertionError):
        key.release()


# Tokens.


def test_a_key_is_admitted_while_tokens_are_left_and_what_it_used_may_exceed_them():
    key = limits(tokens_per_minute=60)
    key.admit(0.0)
    key.admit(0.0)
    key.use_tokens(100, 0.0)
    error = refusal(key, 0.0)
    assert error.message == (
        "Rate limit reached for key ci on tokens per min (TPM): Limit 60. Please try again in 41s."
    )
    assert error.retry_after == 41
    key.admit(41.0)


@given(rates, st.lists(st.tuples(st.floats(0, 300), st.integers(0, 20_000)), max_size=30))
def test_a_bucket_of_tokens_holds_what_came_in_minus_what_was_used(rate, steps):
    """The reference: whole history, with the bucket never fuller than its limit."""
    key, now, level = limits(tokens_per_minute=rate), 100.0, float(rate)
    for pause, used in steps:
        now += pause
        level = min(float(rate), level + pause * rate / 60)
        assert admitted(key, now) is (level >= 1 - 1e-6) or abs(level - 1) < 1e-6
        key.use_tokens(used, now)
        level -= used
        [bucket] = key.tokens
        assert bucket.level(now) == pytest.approx(level, abs=1e-6)


def test_a_lower_limit_leaves_an_empty_bucket_and_a_higher_one_the_difference():
    key = limits(tokens_per_day=1_000_000)
    key.use_tokens(900_000, 0.0)
    key.set_limits(tokens_per_day=2_000_000)
    assert key.tokens[0].level(0.0) == 1_100_000
    key.set_limits(tokens_per_day=100_000)
    assert key.tokens[0].level(0.0) == 0
    key.use_tokens(500, 0.0)
    key.set_limits(tokens_per_day=100_000, concurrency=1)
    assert key.tokens[0].level(0.0) == -500, "the limit itself has not changed"


def test_the_limit_with_the_longest_wait_is_named():
    key = limits(requests_per_minute=60, tokens_per_minute=60, tokens_per_day=86400)
    key.use_tokens(86400, 0.0)
    error = refusal(key, 0.0)
    assert "tokens per min (TPM)" in error.message
    assert error.retry_after == 86341
    key = limits(tokens_per_minute=86400, tokens_per_day=86400)
    key.use_tokens(86400, 0.0)
    assert "tokens per day (TPD): Limit 86400. Please try again in 1s." in refusal(key, 0.0).message


def test_a_refusal_for_tokens_takes_no_request():
    key = limits(requests_per_minute=1, tokens_per_minute=60)
    key.use_tokens(60, 0.0)
    assert not admitted(key, 0.5)
    assert admitted(key, 1.0)


def test_clients_do_not_repeat_by_themselves_what_is_refused_for_longer_than_a_minute():
    key = limits(tokens_per_day=86400)
    key.use_tokens(86400 + 59, 0.0)
    assert "x-should-retry" not in refusal(key, 0.0).headers()
    key.use_tokens(1, 0.0)
    assert refusal(key, 0.0).headers()["x-should-retry"] == "false"


# Headers.


def test_headers_report_the_limits_of_requests_and_tokens():
    key = limits(requests_per_minute=120, tokens_per_minute=6000)
    key.admit(0.0)
    key.use_tokens(1500, 0.0)
    assert dict(key.headers(0.0)) == {
        "x-ratelimit-limit-requests": "120",
        "x-ratelimit-remaining-requests": "119",
        "x-ratelimit-reset-requests": "500ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "15s",
    }


def test_headers_report_only_limits_that_are_set_and_the_scarcer_one_of_tokens():
    assert limits(concurrency=2).headers(0.0) == []
    key = limits(tokens_per_minute=100, tokens_per_day=50)
    assert dict(key.headers(0.0))["x-ratelimit-limit-tokens"] == "50"
    key.use_tokens(200, 0.0)
    assert dict(key.headers(0.0))["x-ratelimit-remaining-tokens"] == "0"


def test_a_refusal_has_the_headers_of_the_limits():
    key = limits(requests_per_minute=1)
    key.admit(0.0)
    headers = refusal(key, 0.0).headers()
    assert headers["Retry-After"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1m0s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (1.1, "2s"),
        (60, "1m0s"),
        (359.5, "6m0s"),
        (3723, "1h2m3s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
