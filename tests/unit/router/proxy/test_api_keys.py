"""Who a request is of, what a key may send, and a file that changes under it."""

import datetime
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import ConfigError, RateLimited, Unauthorized
from svc.config import router_keys
from svc.router.proxy.api_keys import ApiKey, ApiKeys, take_token

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)

rates = st.integers(1, 10_000)
pauses = st.lists(st.floats(0, 120), min_size=1, max_size=200)


def entry(secret: str, requests_per_minute: int | None = None, concurrency: int | None = None) -> router_keys.KeyEntry:
    return router_keys.KeyEntry(router_keys.digest(secret), NOON, requests_per_minute, concurrency)


def write(path: Path, **entries: router_keys.KeyEntry) -> None:
    with router_keys.editing(path) as keys:
        keys.clear()
        keys.update(entries)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


@pytest.fixture
def keys(path):
    """Two keys, ci and dev, whose secrets are `svc-ci` and `svc-dev`."""
    write(path, ci=entry("svc-ci"), dev=entry("svc-dev"))
    keys = ApiKeys(path)
    keys.load()
    return keys


def refused(keys: ApiKeys, authorization: bytes = b"", x_api_key: bytes = b"") -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        keys.identify(authorization, x_api_key)
    return caught.value


def admitted(key: ApiKey, now: float) -> bool:
    try:
        key.admit(now)
    except RateLimited:
        return False
    return True


# The bucket.


@given(rates)
def test_a_bucket_starts_with_exactly_a_minutes_worth(rate):
    key = ApiKey("ci", requests_per_minute=rate)
    assert [admitted(key, 5.0) for _ in range(rate + 1)] == [True] * rate + [False]


@given(rates, st.floats(0, 1e6), pauses)
def test_no_period_admits_more_than_the_bucket_and_its_refill(rate, start, gaps):
    key, now, times = ApiKey("ci", requests_per_minute=rate), start, []
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
    key, now = ApiKey("ci", requests_per_minute=rate), 1000.0
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
        key = ApiKey("ci", requests_per_minute=rate)
        while admitted(key, 7.0):
            pass
        assert sum(admitted(key, 7.0 + pause) for _ in range(rate + 5)) == rate


@given(rates, st.integers(1, 500))
def test_a_steady_client_at_its_rate_is_never_refused(rate, requests):
    key = ApiKey("ci", requests_per_minute=rate)
    assert all(admitted(key, 50 + number * 60 / rate) for number in range(requests))


@given(st.floats(0, 1e5), st.floats(-1e5, 1e5), rates)
def test_a_token_is_taken_or_the_wait_for_it_is_returned(tokens, seconds, rate):
    held = min(rate, tokens + max(seconds, 0) * rate / 60)
    left, wait = take_token(tokens, seconds, rate)
    if wait:
        assert left == pytest.approx(held)
        assert 0 <= left < 1
        assert take_token(left, wait, rate) == (pytest.approx(0, abs=1e-6), 0)
    else:
        assert left == pytest.approx(held - 1, abs=1e-6)
        assert held >= 1 - 1e-6


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    key = ApiKey("ci", requests_per_minute=1)
    key.admit(100.0)
    assert not admitted(key, 50.0)
    assert not admitted(key, 100.0)
    assert not admitted(key, 159.0)
    assert admitted(key, 160.0)


def test_a_refusal_costs_nothing():
    key = ApiKey("ci", requests_per_minute=60)
    while admitted(key, 0.0):
        pass
    for tenth in range(1, 10):
        assert not admitted(key, tenth / 10)
    assert admitted(key, 1.0)
    assert key.in_flight == 61


# The gate.


def test_a_refusal_is_a_429_with_whole_seconds_to_wait():
    key = ApiKey("ci", requests_per_minute=2)
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
    key = ApiKey("ci", concurrency=2)
    key.admit(0.0)
    key.admit(0.0)
    with pytest.raises(RateLimited, match="concurrent requests: Limit 2") as caught:
        key.admit(0.0)
    assert caught.value.retry_after == 1
    key.release()
    key.admit(0.0)
    assert key.in_flight == 2


def test_a_refusal_for_concurrency_takes_no_token():
    key = ApiKey("ci", requests_per_minute=2, concurrency=1)
    key.admit(0.0)
    assert not admitted(key, 0.0)
    key.release()
    assert admitted(key, 0.0)


def test_without_limits_all_are_admitted_and_counted():
    key = ApiKey("ci")
    for _ in range(1000):
        key.admit(0.0)
    assert key.in_flight == 1000


def test_releasing_more_than_was_admitted_is_a_fault():
    key = ApiKey("ci")
    key.admit(0.0)
    key.release()
    with pytest.raises(AssertionError):
        key.release()


# Who it is.


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "name"),
    [
        (b"Bearer svc-ci", b"", "ci"),
        (b"bearer  svc-ci ", b"", "ci"),
        (b"", b"svc-dev", "dev"),
        (b"Bearer svc-ci", b"svc-dev", "ci"),
        (b"Bearer of-the-instance", b"svc-dev", "dev"),
        (b"Bearer svc-ci", b"of-the-instance", "ci"),
        (b"Basic c3ZjLWNp", b"svc-dev", "dev"),
    ],
)
def test_a_key_is_known_in_either_header(keys, authorization, x_api_key, name):
    assert keys.identify(authorization, x_api_key).name == name


@pytest.mark.parametrize("authorization", [b"", b"Bearer", b"Bearer  ", b"svc-ci", b"Basic svc-ci"])
def test_a_request_without_a_key_gets_instructions(keys, authorization):
    error = refused(keys, authorization)
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert error.message.startswith("You didn't provide an API key.")
    assert "Authorization: Bearer YOUR_KEY" in error.message
    assert "x-api-key" in error.message


@pytest.mark.parametrize(
    "secret", [b"svc-c", b"svc-ci2", b"SVC-CI", b"\xff\x00", router_keys.digest("svc-ci").encode()]
)
def test_a_wrong_key_is_refused_and_not_shown(keys, secret):
    for error in (refused(keys, b"Bearer " + secret), refused(keys, b"", secret)):
        assert (error.status, error.code) == (401, "invalid_api_key")
        assert error.message.startswith("Incorrect API key provided.")
        assert secret.decode("latin-1") not in error.message


def test_before_the_file_is_read_every_request_is_refused(path):
    write(path, ci=entry("svc-ci"))
    refused(ApiKeys(path), b"Bearer svc-ci")


def test_nothing_printed_or_logged_shows_a_secret_or_a_digest(keys, path, caplog):
    caplog.set_level(logging.DEBUG)
    path.write_text("[keys.ci]\nsha256 = 'svc-ci'\n")
    keys.refresh()
    shown = caplog.text + repr(keys) + repr(keys.identify(b"Bearer svc-ci")) + str(refused(keys, b"Bearer svc-no"))
    assert caplog.text
    for hidden in ("svc-", router_keys.digest("svc-ci")):
        assert hidden not in shown.replace("`svc keys", "")


# The file changes.


def test_loading_a_broken_or_missing_file_raises_with_the_problem(path):
    with pytest.raises(ConfigError, match="svc keys add"):
        ApiKeys(path).load()
    path.write_text("[keys")
    with pytest.raises(ConfigError, match="not TOML"):
        ApiKeys(path).load()


def test_a_key_that_is_added_holds_and_one_that_is_revoked_does_not(keys, path):
    write(path, ci=entry("svc-ci"), new=entry("svc-new"))
    assert keys.refresh()
    assert keys.identify(b"Bearer svc-new").name == "new"
    refused(keys, b"Bearer svc-dev")


@pytest.mark.parametrize("changed", ["mtime", "size", "inode"])
def test_a_change_shows_in_time_size_or_inode(keys, path, changed):
    was = path.stat()
    text = path.read_text().replace(router_keys.digest("svc-dev"), router_keys.digest("svc-new"))
    if changed == "inode":
        (path.parent / "other").write_text(text)
        (path.parent / "other").replace(path)
    else:
        path.write_text(text + ("\n" if changed == "size" else ""))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns + (changed == "mtime")))
    assert keys.refresh()
    assert keys.identify(b"Bearer svc-new").name == "dev"


@pytest.mark.parametrize("text", ["", "[keys", "[keys.ci]\nsha256 = 1\n"])
def test_a_broken_file_keeps_the_last_good_keys_and_is_logged_once(keys, path, caplog, text):
    path.write_text(text)
    for _ in range(3):
        assert not keys.refresh()
    assert keys.identify(b"Bearer svc-ci").name == "ci"
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    write_after_all(path)
    assert keys.refresh()
    refused(keys, b"Bearer svc-ci")


def write_after_all(path: Path) -> None:
    path.unlink()
    write(path, new=entry("svc-new"))


def test_a_missing_file_keeps_the_last_good_keys_and_is_logged_each_time(keys, path, caplog):
    aside = path.with_name("aside")
    for times in (1, 2):
        path.rename(aside)
        for _ in range(3):
            assert not keys.refresh()
        assert keys.identify(b"Bearer svc-ci").name == "ci"
        assert sum("cannot read" in record.message for record in caplog.records) == times
        aside.rename(path)
        assert keys.refresh()


def test_with_a_file_without_keys_every_request_is_refused(keys, path):
    write(path)
    assert keys.refresh()
    assert len(keys) == 0
    refused(keys, b"Bearer svc-ci")


def test_counts_survive_a_change_of_the_file_and_of_the_secret(path):
    write(path, ci=entry("svc-ci", 2, 9))
    keys = ApiKeys(path)
    keys.load()
    key = keys.identify(b"Bearer svc-ci")
    key.admit(0.0)
    key.admit(0.0)
    write(path, ci=entry("svc-ci-2", 2, 9), other=entry("svc-other"))
    keys.refresh()
    again = keys.identify(b"Bearer svc-ci-2")
    assert again.in_flight == 2
    assert not admitted(again, 0.0)


def test_limits_that_are_changed_hold_from_then_on(path):
    write(path, ci=entry("svc-ci"))
    keys = ApiKeys(path)
    keys.load()
    key = keys.identify(b"Bearer svc-ci")
    for _ in range(5):
        key.admit(0.0)
    write(path, ci=entry("svc-ci", None, 5))
    keys.refresh()
    assert not admitted(keys.identify(b"Bearer svc-ci"), 0.0)
    write(path, ci=entry("svc-ci", 3, None))
    keys.refresh()
    assert [admitted(keys.identify(b"Bearer svc-ci"), 0.0) for _ in range(4)] == [True] * 3 + [False]


def test_requests_in_flight_of_a_key_that_left_and_came_back_still_count(path):
    write(path, ci=entry("svc-ci", concurrency=1))
    keys = ApiKeys(path)
    keys.load()
    begun = keys.identify(b"Bearer svc-ci")
    begun.admit(0.0)
    for there in ({}, {"dev": entry("svc-dev")}, {"ci": entry("svc-new", concurrency=1)}):
        write(path, **there)
        keys.refresh()
    assert not admitted(keys.identify(b"Bearer svc-new"), 0.0)
    begun.release()
    assert admitted(keys.identify(b"Bearer svc-new"), 0.0)


def test_keys_that_left_with_nothing_in_flight_are_forgotten(keys, path):
    for number in range(5):
        write(path, **{f"key{number}": entry(f"svc-{number}")})
        keys.refresh()
    assert list(keys._keys) == ["key4"]
