"""The router's metrics as `svc top` shows them. Pure."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from rich.text import Text

from svc.crop import Block, crop
from svc.router.ui.rates import Counts, Rates, rates
from svc.table import Line, grid

SORTS = ("name", "requests", "errors", "tokens", "first", "load")
LEFT = "499"  # its client left: nobody's error
BROKEN = ("cut",)  # what no status tells
NOBODYS = {"unknown": "(no such model)", "": "(no model)"}  # the router's labels of requests that no model is of
MODEL_HEAD = ("MODEL", "REQ/S", "ERR/S", "TOKENS/S", "FIRST", "QUEUE", "INSTANCES")
INSTANCE_HEAD = ("INSTANCE", "ATTEMPTS/S", "FAILED/S", "TOKENS/S", "FIRST", "IN FLIGHT", "STATE")
AROUND = 6  # lines that are no rows
OURS = "svc_router_"
UP, EJECTED, UNUSED = "up", "ejected", "unused"  # the metrics do not tell why an instance is not used
STYLES = {EJECTED: "red", UNUSED: "yellow", "0": "red"}  # by a row's last cell

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


class Look(NamedTuple):
    """One scrape."""

    time: float
    models: Mapping[str, Counts]
    instances: Mapping[str, Counts]
    queue: Mapping[str, int]  # by model; "": those to whom any will do
    serving: Mapping[str, int]  # instances by model
    in_flight: Mapping[str, int]  # by instance
    states: Mapping[str, str]  # of instances: up, ejected, unused


class Row(NamedTuple):
    """`load` is what waits, or is in flight; `last` the instances of a model, or an instance's state.

    Of an instance the rates are those of attempts, of which a request may have several.
    """

    name: str
    rates: Rates
    load: int
    last: str


class Frame(NamedTuple):
    time: float
    models: Sequence[Row]
    instances: Sequence[Row]


def read(text: str, now: float) -> Look:
    """Raises ValueError for what is no exposition, and for one of something else."""
    found: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    if not any(name.startswith(OURS) for name in found):
        raise ValueError("no metric of a router")
    up, ejected = _by(found, "svc_router_instance_up"), _by(found, "svc_router_instance_ejected")
    return Look(
        now,
        _models(found),
        _instances(found),
        _whole(_by(found, "svc_router_queue", "model")),
        _whole(_by(found, "svc_router_model_instances", "model")),
        _whole(_by(found, "svc_router_requests_in_flight")),
        {name: UP if up[name] else EJECTED if ejected.get(name) else UNUSED for name in up},
    )


def frame(before: Look, now: Look) -> Frame:
    """Of what is there now; what was not there before is counted from nothing.

    A model that no instance has, or none any more, is there while it is asked for.
    """
    seconds = max(now.time - before.time, 0.001)
    models = [
        Row(
            name,
            rates(before.models.get(name, Counts()), now.models.get(name, Counts()), seconds),
            now.queue.get(name, 0),
            str(now.serving.get(name, 0)),
        )
        for name in _names(before, now)
    ]
    instances = [
        Row(
            name,
            rates(before.instances.get(name, Counts()), now.instances.get(name, Counts()), seconds),
            now.in_flight.get(name, 0),
            now.states[name],
        )
        for name in sorted(now.states)
    ]
    return Frame(now.time, models, instances)


def _names(before: Look, now: Look) -> list[str]:
    """Models that somebody has, and what else is asked for."""
    asked = {name for name, told in now.models.items() if told != before.models.get(name, Counts())}
    waiting = {name for name, length in now.queue.items() if length}
    return sorted({*now.serving, *(name for name in now.queue if name), *asked, *waiting})


def lines(frame: Frame, url: str, sort: str, width: int, height: int | None = None) -> Iterator[Text]:
    """Two tables under a headline; where `height` is not enough, of each the worst."""
    total = [sum(getattr(row.rates, name) for row in frame.models) for name in ("requests", "errors", "tokens")]
    flying, waiting = sum(row.load for row in frame.instances), sum(row.load for row in frame.models)
    head = f"{time.strftime('%H:%M:%S', time.localtime(frame.time))}  {url}"
    yield Text(head, style="dim")
    yield Text(
        f"{_number(total[0])} requests/s, {_number(total[1])} errors/s, {_number(total[2])} tokens/s, "
        f"{flying} in flight, {waiting} queued"
    )
    yield Text()
    models_head, *models = _grid(MODEL_HEAD, frame.models, sort, width)
    instances_head, *instances = _grid(INSTANCE_HEAD, frame.instances, sort, width)
    rooms = _rooms(models, instances, None if height is None else height - AROUND)
    yield from models_head.lines
    yield from crop(models, rooms[0])
    yield Text()
    yield from instances_head.lines
    yield from crop(instances, rooms[1])


def _rooms(models: Sequence[Block], instances: Sequence[Block], room: int | None) -> tuple[int | None, int | None]:
    """Half of it for each, and what one does not need for the other."""
    if room is None:
        return None, None
    needed = [sum(len(block.lines) for block in blocks) for blocks in (models, instances)]
    first = max(room // 2, room - needed[1])
    return first, room - min(first, needed[0])


def _grid(head: Sequence[str], rows: Sequence[Row], sort: str, width: int) -> list[Block]:
    ordered = sorted(rows, key=lambda row: (-_value(row, sort), row.name))
    return grid(head, [Line(_cells(row, head), _style(row), (), ()) for row in ordered], width)


def _value(row: Row, sort: str) -> float:
    told = {
        "name": 0.0,
        "requests": row.rates.requests,
        "errors": row.rates.errors,
        "tokens": row.rates.tokens,
        "first": row.rates.first_token or 0.0,
        "load": float(row.load),
    }
    return told[sort]


def _cells(row: Row, head: Sequence[str]) -> Sequence[str]:
    first = row.rates.first_token
    numbers = (
        _number(row.rates.requests), _number(row.rates.errors), _number(row.rates.tokens),
        "-" if first is None else f"{first * 1000:.0f} ms" if first < 10 else f"{first:.1f} s", str(row.load),
    )  # fmt: skip
    name, last = (NOBODYS[row.name], "-") if _is_nobodys(row) else (row.name, row.last)
    return (name, *(f"{cell:>{len(title)}}" for cell, title in zip(numbers, head[1:], strict=False)), last)


def _is_nobodys(row: Row) -> bool:
    """A model may be called `unknown`, too: that has instances."""
    return row.name in NOBODYS and row.last == "0"


def _style(row: Row) -> str:
    told = "" if _is_nobodys(row) else STYLES.get(row.last, "")
    return told or ("yellow" if row.rates.errors else "")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _models(found: Samples) -> dict[str, Counts]:
    requests: defaultdict[str, int] = defaultdict(int)
    errors: defaultdict[str, int] = defaultdict(int)
    for labels, value in found.get("svc_router_requests_total", ()):
        requests[labels["model"]] += int(value)
        if labels["status"] >= "400" and labels["status"] != LEFT:
            errors[labels["model"]] += int(value)
    for labels, value in found.get("svc_router_failures_total", ()):
        if labels["kind"] in BROKEN:
            errors[labels["model"]] += int(value)
    tokens = _by(found, "svc_router_produced_tokens_total", "model")
    seconds = _by(found, "svc_router_ttft_seconds_sum", "model")
    firsts = _by(found, "svc_router_ttft_seconds_count", "model")
    return {  # the first request of a model may be a stream that goes on
        name: Counts(requests[name], errors[name], int(count), seconds.get(name, 0.0), int(firsts.get(name, 0)))
        for name, count in tokens.items()
    }


def _instances(found: Samples) -> dict[str, Counts]:
    requests, errors = _by(found, "svc_router_attempts_total"), _by(found, "svc_router_attempt_errors_total")
    tokens = _by(found, "svc_router_instance_tokens_total")
    seconds = _by(found, "svc_router_instance_ttft_seconds_sum")
    firsts = _by(found, "svc_router_instance_ttft_seconds_count")
    return {
        name: Counts(
            int(count), int(errors.get(name, 0)), int(tokens.get(name, 0)), seconds.get(name, 0.0),
            int(firsts.get(name, 0)),
        )
        for name, count in requests.items()
    }  # fmt: skip


def _by(found: Samples, metric: str, label: str = "instance") -> dict[str, float]:
    return {labels[label]: value for labels, value in found.get(metric, ())}


def _whole(told: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in told.items()}
