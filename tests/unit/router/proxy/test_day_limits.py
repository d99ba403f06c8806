"""What was used before a restart counts for the limits of a day."""

import datetime
import threading
from pathlib import Path

import pytest

from svc.config.router_key_entry import KeyEntry
from svc.protocol.usage import OTHER
from svc.router.proxy.accounts import user_account
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.day_limits import restore_day_limits
from svc.router.proxy.user_limits import UserLimits
from svc.router.proxy.user_rows import UserRows
from svc.router.usage.usage_file import UsageFile
from svc.router.usage.usage_sums import UsageEntry

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)
TIME, NOW = NOON.timestamp(), 500.0
HOUR = 3600
LIMIT = 24_000


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    entry = {"created": NOON, "tokens_per_day": LIMIT}
    made = ApiKeys(tmp_path / "keys.toml")
    made.replace(
        {
            "ci": KeyEntry("00" * 32, **entry, tokens_per_minute=100),
            "web": KeyEntry("11" * 32, **entry, front=True),
            "free": KeyEntry("22" * 32, NOON),
        }
    )
    return made


@pytest.fixture
def users() -> UserRows:
    return UserRows(1, threading.Lock())


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    file = UsageFile(tmp_path / "usage.db")
    rows = [
        (30, "ci", ""),
        (2, "ci", ""),
        (1, "ci", ""),
        (1, "web", "alice"),
        (1, "web", OTHER),
        (1, "free", ""),
        (1, "gone", ""),
    ]
    used = {"requests": 1, "prompt": 5000, "completion": 1000}
    file.add([UsageEntry(int(TIME) - ago * HOUR, key, user, "m", **used) for ago, key, user in rows])
    file.close()
    return tmp_path / "usage.db"


def levels(key) -> list[float]:
    return [round(bucket.level(NOW)) for bucket in key.tokens]


def test_what_keys_used_in_the_last_day_is_missing_again(keys, users, ledger):
    restore_day_limits(ledger, keys, users, NOW, TIME)
    assert levels(keys.named("ci")) == [100, LIMIT - 10_000]  # the bucket has filled for two hours, with 1000 each


def test_what_users_used_in_the_last_day_is_missing_again(keys, users, ledger):
    restore_day_limits(ledger, keys, users, NOW, TIME)
    web = keys.named("web")
    for user, level in (
        ("alice", LIMIT - 5_000),
        ("bob", LIMIT),
        (OTHER, LIMIT - 5_000),
    ):  # any user may have this name
        limits = UserLimits(web, user_account(web.account, user), users)
        limits.admit(NOW)
        assert levels(limits) == [level]
    assert levels(web) == [LIMIT]


def test_what_is_counted_already_is_not_counted_again(keys, users, ledger):
    for _ in range(2):
        restore_day_limits(ledger, keys, users, NOW, TIME)
    assert levels(keys.named("ci"))[1] == LIMIT - 10_000
    assert keys.named("free").tokens == ()


def test_a_ledger_that_cannot_be_read_leaves_full_buckets(keys, users, tmp_path, caplog):
    restore_day_limits(tmp_path / "none.db", keys, users, NOW, TIME)
    assert not caplog.records
    (tmp_path / "broken.db").write_text("x" * 5000)
    restore_day_limits(tmp_path / "broken.db", keys, users, NOW, TIME)
    assert "broken.db: cannot read it, so the limits of a day begin anew" in caplog.text
    assert levels(keys.named("ci"))[1] == LIMIT
