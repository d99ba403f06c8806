"""The router's metrics as `svc top` shows them. Pure."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from svc.base.counter_rates import Counts, Rates, rates
from svc.client.router_metrics import EJECTED, UNUSED, RouterScrape
from svc.terminal.crop import Block, crop
from svc.terminal.table import TableRow, grid

SORTS = ("name", "requests", "errors", "tokens", "first", "load")
NOBODYS = {"unknown": "(no such model)", "": "(no model)"}  # the router's labels of requests that no model is of
MODEL_HEAD = ("MODEL", "REQ/S", "ERR/S", "TOKENS/S", "FIRST", "QUEUE", "INSTANCES")
INSTANCE_HEAD = ("INSTANCE", "ATTEMPTS/S", "FAILED/S", "TOKENS/S", "FIRST", "IN FLIGHT", "STATE")
SPARED = ("FIRST", "TOKENS/S")  # where it is narrow, in this order
AROUND = 6  # lines that are no rows
STYLES = {EJECTED: "red", UNUSED: "yellow", "0": "red"}  # by a row's last cell


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


def frame(before: RouterScrape, now: RouterScrape) -> Frame:
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


def _names(before: RouterScrape, now: RouterScrape) -> list[str]:
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
    return grid(head, [TableRow(_cells(row, head), _style(row), (), ()) for row in ordered], width, SPARED)


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
        _number(row.rates.requests),
        _number(row.rates.errors),
        _number(row.rates.tokens),
        "-" if first is None else f"{first * 1000:.0f} ms" if first < 10 else f"{first:.1f} s",
        str(row.load),
    )
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
