"""Each user behind a key has the limits of the key for itself, in whatever process."""

import copy
import datetime
import threading

import pytest

from svc.base.errors import RateLimited
from svc.config.router_key_entry import KeyEntry
from svc.router.proxy.accounts import user_account
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.user_limits import UserLimits
from svc.router.proxy.user_rows import UserRows

NOW = 1000.0
CREATED = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)


@pytest.fixture
def rows() -> UserRows:
    return UserRows(2, threading.Lock())


def key(**limits: int | None) -> ApiKey:
    made = ApiKey("web")
    change(made, **limits)
    return made


def change(key: ApiKey, **limits: int | None) -> None:
    key.use(KeyEntry("00" * 32, CREATED, **limits))


def request(key: ApiKey, rows: UserRows, user: str, slot: int = 0) -> UserLimits:
    """Return the limits of a request that arrives at the process in this slot."""
    own = copy.copy(rows)
    own.slot = slot
    return UserLimits(key, user_account(key.account, user), own)


def test_each_user_has_its_own_requests_in_flight(rows):
    web = key(concurrency=1)
    first = request(web, rows, "alice")
    first.admit(NOW)
    request(web, rows, "bob").admit(NOW)
    for slot in (0, 1):
        with pytest.raises(RateLimited, match="key web and user alice on concurrent requests: Limit 1"):
            request(web, rows, "alice", slot).admit(NOW)
    first.release()
    request(web, rows, "alice", slot=1).admit(NOW)


def test_a_user_that_has_sent_its_requests_leaves_those_of_others(rows):
    web = key(requests_per_minute=2)
    for slot in (0, 1):
        request(web, rows, "alice", slot).admit(NOW)
    with pytest.raises(RateLimited, match="user alice on requests per min"):
        request(web, rows, "alice").admit(NOW)
    request(web, rows, "bob").admit(NOW)


def test_tokens_count_for_the_user_after_the_request_was_released(rows):
    web = key(tokens_per_minute=60)
    done = request(web, rows, "alice")
    done.admit(NOW)
    done.release()
    done.use_tokens(90, NOW)
    with pytest.raises(RateLimited, match=r"user alice on tokens per min \(TPM\)") as caught:
        request(web, rows, "alice", slot=1).admit(NOW)
    assert caught.value.headers()["x-ratelimit-remaining-tokens"] == "0"
    request(web, rows, "bob").admit(NOW)


def test_a_refused_request_counts_nothing(rows):
    web = key(concurrency=1, requests_per_minute=2)
    first = request(web, rows, "alice")
    first.admit(NOW)
    with pytest.raises(RateLimited, match="concurrent"):
        request(web, rows, "alice").admit(NOW)
    first.release()
    request(web, rows, "alice").admit(NOW)


def test_a_changed_limit_holds_for_the_next_request(rows):
    web = key(requests_per_minute=1)
    request(web, rows, "alice").admit(NOW)
    change(web, requests_per_minute=60)
    request(web, rows, "alice").admit(NOW)


def test_a_lower_limit_does_not_lock_a_user_out_for_days(rows):
    web = key(tokens_per_day=1_000_000)
    used = request(web, rows, "alice")
    used.admit(NOW)
    used.use_tokens(900_000, NOW)
    used.release()
    change(web, tokens_per_day=86_400)
    with pytest.raises(RateLimited, match="Please try again in 1s"):
        request(web, rows, "alice").admit(NOW)
    overdrawn = request(web, rows, "alice")
    overdrawn.admit(NOW + 1)
    overdrawn.use_tokens(500, NOW + 1)
    with pytest.raises(RateLimited, match="Please try again in 8m20s"):
        request(web, rows, "alice").admit(NOW + 1)
