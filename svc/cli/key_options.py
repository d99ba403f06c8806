"""The options of `svc keys add` and `svc keys set`, one for each field of a key, and the fields that they change."""

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

import click

from svc.base.local_time import parse_period
from svc.config.router_key_changes import KeyChanges
from svc.config.router_key_entry import (
    LIMITS,
    MAX_LIMIT,
    MAX_PRIORITY,
    MAX_SHARE,
    MIN_SHARE,
    check_models,
    check_note,
    utc,
)

NO_VALUES = ("", "none")  # given as an option's value, these remove the field from the key
DEFAULT_SHARE, DEFAULT_PRIORITY = 1.0, 0
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Limit(click.ParamType):
    """A whole number of at least 1. `none` becomes 0, which means no limit."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value in NO_VALUES:
            return 0
        if not value.isdecimal() or len(value) > len(str(MAX_LIMIT)) or not 1 <= int(value) <= MAX_LIMIT:
            self.fail(f"{value!r} is no whole number from 1 to {MAX_LIMIT}, and not `none`", param, ctx)
        return int(value)


class Share(click.FloatRange):
    """The weight of a key where requests wait. `none` becomes DEFAULT_SHARE."""

    name = "number"  # click's error for other text is "... is not a valid number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(DEFAULT_SHARE if value in NO_VALUES else value, param, ctx)


class Priority(click.IntRange):
    """The priority of a key's waiting requests. `none` becomes DEFAULT_PRIORITY."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(DEFAULT_PRIORITY if value in NO_VALUES else value, param, ctx)


LIMIT_HELP = {
    "requests-per-minute": "requests that the key may send a minute",
    "concurrency": "requests that it may have in flight at once",
    "tokens-per-minute": "tokens that it may use a minute",
    "tokens-per-day": "tokens that it may use a day",
}
SHARES = Share(MIN_SHARE, MAX_SHARE)
PRIORITIES = Priority(-MAX_PRIORITY, MAX_PRIORITY)
OPTIONS = (
    *(click.option(f"--{name}", type=Limit(), metavar="N", help=text) for name, text in LIMIT_HELP.items()),
    click.option("--share", type=SHARES, metavar="X", help="its weight where requests wait  [default: 1]"),
    click.option(
        "--priority", type=PRIORITIES, metavar="N", help="of its waiting requests; higher goes first  [default: 0]"
    ),
    click.option("--models", metavar="A,B*", help="the only models that it may use; * is any text  [default: all]"),
    click.option("--expires", metavar="TIME", help="when it ends: 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z (UTC)"),
    click.option("--front/--no-front", default=None, help="its requests may name the user for whom they are sent"),
    click.option(
        "--operator/--no-operator",
        default=None,
        help="may send management requests to instances: any path and method",
    ),
    click.option("--note", metavar="TEXT", help="what or whom the key is for"),
)


def policy_options(function: F) -> F:
    """Add an option for each field of a key. An absent option is None, so that `svc keys set` keeps the field."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def key_changes(now: datetime.datetime, **options: Any) -> KeyChanges:
    """Return the fields that the given options change; raise UsageError for a value that a key may not have."""
    changes: KeyChanges = {}
    for name in LIMITS:
        if (limit := options[name]) is not None:
            changes[name] = limit or None
    for name in ("share", "priority", "front", "operator"):
        if (value := options[name]) is not None:
            changes[name] = value
    if (note := options["note"]) is not None:
        changes["note"] = _checked("--note", check_note, note)
    if (models := options["models"]) is not None:
        if models == "none":
            raise click.UsageError("--models: 'none' could mean all or no models; give '*' for all")
        patterns = [pattern.strip() for pattern in models.split(",")]
        changes["models"] = () if patterns in ([""], ["*"]) else _checked("--models", check_models, patterns)
    if (expires := options["expires"]) is not None:
        changes["expires"] = (
            None if expires in NO_VALUES else _checked("--expires", lambda text: _time(text, now), expires)
        )
    return changes


def _checked(option: str, rule: Callable[[Any], T], value: object) -> T:
    try:
        return rule(value)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _time(text: str, now: datetime.datetime) -> datetime.datetime:
    """Return the time in `text`, such as 90d or 2027-01-31; raise ValueError if it is invalid or has passed."""
    if period := parse_period(text):
        return now + datetime.timedelta(seconds=period)
    try:
        time = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; give 90d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or none") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.timezone.utc)
    if time <= now:
        raise ValueError(f"{text!r} has passed; to end the key now, use `svc keys revoke`")
    return utc(time).replace(microsecond=0)
