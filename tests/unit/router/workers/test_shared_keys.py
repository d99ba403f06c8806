import threading

import pytest

from svc.base.errors import RateLimited
from svc.router.workers import shared_counts
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_keys import SharedApiKey
from tests.unit.router.workers.examples import process

NOW = 1000.0


@pytest.fixture
def counts() -> SharedCounts:
    return SharedCounts(3)


@pytest.fixture
def keys(counts: SharedCounts) -> list[SharedApiKey]:
    """One key, in two processes."""
    return [SharedApiKey("ci", process(counts, slot)) for slot in (1, 2)]


def limit(keys: list[SharedApiKey], **limits: int | None) -> None:
    for key in keys:
        key.set_limits(**limits)


def test_the_requests_of_all_processes_count_for_a_keys_concurrency(keys):
    first, second = keys
    limit(keys, concurrency=2)
    first.admit(NOW)
    second.admit(NOW)
    with pytest.raises(RateLimited, match="concurrent requests: Limit 2"):
        first.admit(NOW)
    assert (first.in_flight, second.in_flight) == (1, 1)
    second.release()
    first.admit(NOW)


def test_a_request_is_not_refused_for_one_that_is_just_being_released(keys, monkeypatch: pytest.MonkeyPatch):
    """A client has the whole response a moment before its process counts the request as ended."""
    monkeypatch.setattr(shared_counts, "GRACE_SECONDS", 10.0)
    first, second = keys
    limit(keys, concurrency=1)
    first.admit(NOW)
    threading.Timer(0.02, first.release).start()
    second.admit(NOW)


def test_all_processes_take_from_one_bucket_which_fills_with_time(keys):
    first, second = keys
    limit(keys, requests_per_minute=2)
    first.admit(NOW)
    second.admit(NOW)
    with pytest.raises(RateLimited, match="Limit 2. Please try again in 30s"):
        first.admit(NOW)
    with pytest.raises(RateLimited, match="in 15s"):
        second.admit(NOW + 15)
    second.admit(NOW + 30)


def test_a_request_that_concurrency_refuses_takes_nothing_from_the_bucket(keys):
    first, second = keys
    limit(keys, concurrency=1, requests_per_minute=2)
    first.admit(NOW)
    with pytest.raises(RateLimited, match="concurrent"):
        second.admit(NOW)
    first.release()
    second.admit(NOW)


def test_requests_from_before_a_limit_was_set_count_for_it(keys):
    first, second = keys
    first.admit(NOW)
    limit(keys, concurrency=1)
    with pytest.raises(RateLimited):
        second.admit(NOW)


def test_the_requests_of_a_killed_process_count_no_more(counts: SharedCounts, keys):
    first, second = keys
    limit(keys, concurrency=1)
    first.admit(NOW)
    counts.clear(1)
    second.admit(NOW)


def test_two_keys_have_limits_of_their_own(counts: SharedCounts, keys):
    other = SharedApiKey("web", process(counts, 1))
    limit([*keys, other], concurrency=1, requests_per_minute=1)
    keys[0].admit(NOW)
    other.admit(NOW)


def test_tokens_that_one_process_reports_are_missing_in_all(keys):
    first, second = keys
    limit(keys, tokens_per_minute=60)
    first.admit(NOW)
    first.use_tokens(90, NOW)
    with pytest.raises(RateLimited, match=r"tokens per min \(TPM\): Limit 60. Please try again in 31s"):
        second.admit(NOW)
    second.admit(NOW + 31)


def test_a_key_without_limits_takes_no_memory_for_buckets(counts: SharedCounts):
    before = len(counts._common.all_rows())  # noqa: SLF001
    SharedApiKey("free", counts).set_limits()
    assert len(counts._common.all_rows()) == before  # noqa: SLF001
