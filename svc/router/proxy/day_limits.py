"""Restores the limits of tokens per day when the router starts: what was used in the last 24 hours counts again.

The buckets of the limits are in memory, but the ledger's file outlives the router. The file has sums for whole hours,
and each sum counts as used at the hour's beginning. So at most an hour's share of the limit is forgiven.
"""

import datetime
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from svc.base.errors import ConfigError
from svc.protocol.usage import UsageRow
from svc.router.proxy.accounts import user_account
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.key_limits import KeyLimits
from svc.router.proxy.token_bucket import TOKENS_PER_DAY, Bucket
from svc.router.proxy.user_limits import UserLimits
from svc.router.proxy.user_rows import UserRows
from svc.router.usage.usage_file import read_rows

log = logging.getLogger(__name__)
DAY_SECONDS = TOKENS_PER_DAY.seconds


def restore_day_limits(path: Path, keys: ApiKeys, users: UserRows, now: float, time: float) -> None:
    """Take from each unused bucket for a day the tokens of the last day in the ledger.

    `path`: the ledger's file. `now`: seconds of the buckets' clock; `time`: the same moment in Unix seconds.
    """
    if not any(entry.tokens_per_day for entry in keys.entries.values()):
        return
    try:
        rows = read_rows(path, ("hour", "key", "user"), time - DAY_SECONDS, time)
    except (OSError, sqlite3.Error, ConfigError) as error:
        log.warning("%s: cannot read it, so the limits of a day begin anew: %s", path, error)
        return
    uses: defaultdict[tuple[str, str], list[UsageRow]] = defaultdict(list)
    for row in rows:
        uses[row.key, row.user].append(row)
    for (name, user), hours in uses.items():
        limit = entry.tokens_per_day if (entry := keys.entries.get(name)) else None
        limits = _limits_of(keys, users, name, user)
        if limit is not None and limits is not None:
            limits.restore_day(_missing_tokens(limit, hours, time), now)


def _limits_of(keys: ApiKeys, users: UserRows, name: str, user: str) -> KeyLimits | None:
    key = keys.named(name)
    if key is None or not user:
        return key
    return UserLimits(key, user_account(key.account, user), users)


def _missing_tokens(limit: int, hours: Iterable[UsageRow], time: float) -> int:
    """Return the tokens that a bucket for a day lacks at `time`, if an hour's tokens were used when it began."""
    bucket = Bucket(TOKENS_PER_DAY, limit, [0.0, 0.0])
    for row in sorted(hours, key=lambda row: row.hour):
        bucket.take(row.prompt + row.completion, datetime.datetime.fromisoformat(row.hour).timestamp())
    return round(limit - bucket.level(time))
