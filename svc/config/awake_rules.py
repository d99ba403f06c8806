"""How many instances of a model are awake: the sections [[model]] and [[schedule]] of config/svc.toml.

The times of a schedule are local times of the router's host. Within these times, its `awake` replaces the model's
`awake_min`; where several schedules of a model overlap, the largest `awake` counts. No function reads the clock: the
current time is an argument.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from svc.base.similar_names import did_you_mean
from svc.config.instance.fields import Field
from svc.config.readers import list_of, nonempty_text, number, quoted, whole_number

SECTIONS = ("model", "schedule")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
MINUTES_PER_DAY = 24 * 60
MAX_AWAKE = 10_000  # no limit in effect, because no site has so many instances


@dataclasses.dataclass(frozen=True, slots=True)
class ModelRule:
    """How many of a model's on-demand instances stay awake, how many are woken at most, and when one more is."""

    name: str
    awake_min: int = 0  # kept awake, whether there are requests or not
    awake_max: int = MAX_AWAKE  # no more instances are woken, however long requests wait
    wake_after: float = 5.0  # seconds that the oldest request waits until one more instance is woken


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A time of the week in which `awake` instances of a model are kept awake."""

    model: str
    start: int  # minutes after midnight
    end: int  # minutes after midnight, on the next day if this is not later than `start`
    awake: int
    days: tuple[int, ...] = tuple(range(7))  # days on which the schedule begins; 0: Monday

    def contains(self, now: datetime) -> bool:
        """Return whether a local time is within the schedule."""
        minute, today = now.hour * 60 + now.minute, now.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        starts_today = today in self.days and minute >= self.start
        return starts_today or ((today - 1) % 7 in self.days and minute < self.end)


@dataclasses.dataclass(frozen=True, slots=True)
class AwakeRules:
    """All [[model]] and [[schedule]] rules of a site."""

    models: tuple[ModelRule, ...] = ()
    schedules: tuple[Schedule, ...] = ()

    def rule_of(self, model: str) -> ModelRule:
        """Return the rule of a model, or a rule with the defaults if the site has none for it."""
        return next((rule for rule in self.models if rule.name == model), ModelRule(model))

    def rule_at(self, model: str, now: datetime) -> ModelRule:
        """Return the rule of a model at a local time; within schedules, its `awake_min` is their largest `awake`."""
        rule = self.rule_of(model)
        scheduled = [
            schedule.awake for schedule in self.schedules if schedule.model == model and schedule.contains(now)
        ]
        return dataclasses.replace(rule, awake_min=max(scheduled)) if scheduled else rule

    def model_names(self) -> set[str]:
        """Return the models that have a rule or a schedule."""
        return {rule.name for rule in self.models} | {schedule.model for schedule in self.schedules}


def read_rules(tables: Mapping[str, Any]) -> tuple[AwakeRules, list[str]]:
    """Return the valid rules in the parsed svc.toml, and a line for each problem."""
    problems: list[str] = []
    models = [ModelRule(**values) for values in _entries(tables, "model", MODEL_KEYS, problems)]
    schedules = [_schedule(values, problems) for values in _entries(tables, "schedule", SCHEDULE_KEYS, problems)]
    rules = AwakeRules(tuple(models), tuple(filter(None, schedules)))
    return rules, [*problems, *_contradictions(rules)]


def clock_time(value: Any) -> int:
    """Read a time of the day, and return the minutes after midnight."""
    if not isinstance(value, str) or not CLOCK_TIME.fullmatch(value):
        raise ValueError(f'must be a time of the day, not {quoted(value)}; write it like "08:00"')
    hours, minutes = value.split(":")
    return int(hours) * 60 + int(minutes)


def days(value: Any) -> tuple[int, ...]:
    """Read a list of weekdays, and return their numbers; 0 is Monday."""

    def day(item: Any) -> int:
        if item not in DAYS:
            raise ValueError(f"{quoted(item)} is no day; there are {', '.join(DAYS)}")
        return DAYS.index(item)

    if value == []:
        raise ValueError("must not be empty; name a day, or remove the key for every day")
    return tuple(sorted(set(list_of(day)(value))))


AWAKE = whole_number(0, MAX_AWAKE)
MODEL_KEYS: dict[str, Field] = {
    "name": Field(nonempty_text, required='name the model, such as name = "qwen"', help="the model"),
    "awake_min": Field(AWAKE, 0, help="instances that are kept awake, whether there are requests or not"),
    "awake_max": Field(
        whole_number(1, MAX_AWAKE),
        MAX_AWAKE,
        help="instances above which no more are woken, however long requests wait",
    ),
    "wake_after": Field(
        number(0, 86400), 5.0, help="seconds that the oldest request waits until one more instance is woken"
    ),
}
SCHEDULE_KEYS: dict[str, Field] = {
    "model": Field(nonempty_text, required='name the model, such as model = "qwen"', help="the model"),
    "days": Field(
        days, tuple(range(7)), help='the days on which it begins, such as ["mon", "fri"]; left out: every day'
    ),
    "from": Field(clock_time, required='write it like from = "08:00"', help="the time at which it begins"),
    "to": Field(
        clock_time,
        required='write it like to = "18:00"',
        help="the time at which it ends; if that is not after `from`, on the next day; 24:00: at midnight",
    ),
    "awake": Field(
        AWAKE,
        required="write how many instances are kept awake, such as awake = 1",
        help="instances that are kept awake meanwhile, instead of awake_min",
    ),
}


def _entries(
    tables: Mapping[str, Any], section: str, keys: Mapping[str, Field], problems: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the values of each valid entry of a section; append the problems of the others to `problems`."""
    entries = tables.get(section, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        problems.append(f"[{section}]: there may be several; write [[{section}]]")
        return
    for position, entry in enumerate(entries, 1):
        start = len(problems)

        def report(key: str, message: str, position: int = position) -> None:
            problems.append(f"[[{section}]] {position}: {key}: {message}")

        values = _values(entry, keys, report)
        if len(problems) == start:
            yield values


def _values(entry: Mapping[str, Any], keys: Mapping[str, Field], report: Callable[[str, str], None]) -> dict[str, Any]:
    for key in entry:
        if key not in keys:
            report(key, f"unknown key; {did_you_mean(key, keys, 'there are ' + ', '.join(keys))}")
    values = {}
    for key, field in keys.items():
        if key not in entry:
            if field.required:
                report(key, f"missing; {field.required}")
            else:
                values[key] = field.default
            continue
        try:
            values[key] = field.read(entry[key])
        except ValueError as error:
            report(key, str(error))
    return values


def _schedule(values: dict[str, Any], problems: list[str]) -> Schedule | None:
    start, end = values.pop("from"), values.pop("to")
    if start in (end, MINUTES_PER_DAY):
        problems.append(
            f"[[schedule]] of {quoted(values['model'])}: has no duration; for the whole day, write "
            'from = "00:00" and to = "24:00"'
        )
        return None
    return Schedule(start=start, end=end, **values)


def _contradictions(rules: AwakeRules) -> Iterator[str]:
    names = [rule.name for rule in rules.models]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"[[model]]: there are {names.count(name)} for {quoted(name)}; make them one"
    for rule in rules.models:
        if rule.awake_min > rule.awake_max:
            yield (
                f"[[model]] {quoted(rule.name)}: awake_min = {rule.awake_min} is more than awake_max = "
                f"{rule.awake_max}; change one"
            )
    for schedule in rules.schedules:
        if schedule.awake > (limit := rules.rule_of(schedule.model).awake_max):
            yield (
                f"[[schedule]] of {quoted(schedule.model)}: awake = {schedule.awake} is more than its awake_max = "
                f"{limit}; change one"
            )
