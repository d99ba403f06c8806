"""The tables of `svc top`: a router's traffic between two scrapes of its metrics. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from svc.base.counter_rates import Counts, Rates, rates
from svc.client.router_metrics import ASLEEP, EJECTED, FAILING, UNUSED, RouterScrape
from svc.protocol.gpu_use import HostUse
from svc.terminal.table import Block, TableRow, crop, table_blocks
from svc.terminal.traffic_gpus import gpu_lines

SORTS = ("name", "requests", "errors", "tokens", "first", "load")
NO_MODEL_NAMES = {"unknown": "(no such model)", "": "(no model)"}  # model label in the router's metrics -> shown text
MODEL_HEAD = ("MODEL", "REQ/S", "ERR/S", "TOKENS/S", "FIRST", "QUEUE", "INSTANCES")
INSTANCE_HEAD = ("INSTANCE", "ATTEMPTS/S", "FAILED/S", "TOKENS/S", "FIRST", "IN FLIGHT", "STATE")
OPTIONAL_COLUMNS = ("FIRST", "TOKENS/S")  # dropped in this order on a narrow terminal
MIN_GPU_LINES = 3  # minimum height of the table of GPUs, including its head
LINES_WITHOUT_ROWS = 6  # headline, totals, heads and empty lines
# Last cell of a row -> colour of the row
STYLES = {EJECTED: "red", FAILING: "red", UNUSED: "yellow", ASLEEP: "dim", "0": "red"}


class TrafficRow(NamedTuple):
    """A row for one model or one instance.

    The rates of an instance count attempts; one request may have several attempts.
    """

    name: str
    rates: Rates
    load: int  # requests: queued for a model, or in flight at an instance
    last: str  # the last cell: an instance's state; for a model, the number of its instances, or ASLEEP


class Traffic(NamedTuple):
    """A router's traffic between two scrapes; `time` is the time of the second scrape.

    `gpus`: host -> its GPUs, as a registry lists them.
    """

    time: float
    models: Sequence[TrafficRow]
    instances: Sequence[TrafficRow]
    gpus: Mapping[str, HostUse] = {}


def traffic(before: RouterScrape, now: RouterScrape) -> Traffic:
    """Return the rates of the models and instances in the scrape `now`. What is not in `before` counts from zero.

    A model without an instance is listed while requests ask for it.
    """
    seconds = max(now.time - before.time, 0.001)
    models = [
        TrafficRow(
            name,
            rates(before.models.get(name, Counts()), now.models.get(name, Counts()), seconds),
            now.queue.get(name, 0),
            ASLEEP if now.asleep.get(name) else str(now.serving.get(name, 0)),
        )
        for name in _model_names(before, now)
    ]
    instances = [
        TrafficRow(
            name,
            rates(before.instances.get(name, Counts()), now.instances.get(name, Counts()), seconds),
            now.in_flight.get(name, 0),
            now.states[name],
        )
        for name in sorted(now.states)
    ]
    return Traffic(now.time, models, instances)


def _model_names(before: RouterScrape, now: RouterScrape) -> list[str]:
    """Return the models that instances serve, and the models that requests ask for."""
    requested = {name for name, counts in now.models.items() if counts != before.models.get(name, Counts())}
    waiting = {name for name, length in now.queue.items() if length}
    return sorted({*now.serving, *(name for name in now.queue if name), *requested, *waiting})


def traffic_lines(traffic: Traffic, headline: str, sort: str, width: int, height: int | None = None) -> Iterator[Text]:
    """Yield the headline, the totals and two tables, and a table of GPUs if there are any.

    If the tables do not fit `height`, they contain only their least healthy rows. The GPUs get a third of the height.
    """
    gpus = gpu_lines(traffic.gpus, width, None if height is None else max(MIN_GPU_LINES, height // 3))
    if height is not None and gpus:
        height -= len(gpus) + 1
    total = [sum(getattr(row.rates, name) for row in traffic.models) for name in ("requests", "errors", "tokens")]
    in_flight, queued = sum(row.load for row in traffic.instances), sum(row.load for row in traffic.models)
    yield Text(headline, style="dim")
    yield Text(
        f"{_number(total[0])} requests/s, {_number(total[1])} errors/s, {_number(total[2])} tokens/s, "
        f"{in_flight} in flight, {queued} queued"
    )
    yield Text()
    models_head, *models = _sorted_blocks(MODEL_HEAD, traffic.models, sort, width)
    instances_head, *instances = _sorted_blocks(INSTANCE_HEAD, traffic.instances, sort, width)
    heights = _heights(models, instances, None if height is None else height - LINES_WITHOUT_ROWS)
    yield from models_head.lines
    yield from crop(models, heights[0])
    yield Text()
    yield from instances_head.lines
    yield from crop(instances, heights[1])
    if gpus:
        yield Text()
        yield from gpus


def _heights(models: Sequence[Block], instances: Sequence[Block], height: int | None) -> tuple[int | None, int | None]:
    """Return the heights of the two tables: half of `height` for each, plus what the other table does not need."""
    if height is None:
        return None, None
    needed = [sum(len(block.lines) for block in blocks) for blocks in (models, instances)]
    first = max(height // 2, height - needed[1])
    return first, height - min(first, needed[0])


def _sorted_blocks(head: Sequence[str], rows: Sequence[TrafficRow], sort: str, width: int) -> list[Block]:
    ordered = sorted(rows, key=lambda row: (-_sort_value(row, sort), row.name))
    return table_blocks(
        head, [TableRow(_cells(row, head), _style(row), (), ()) for row in ordered], width, OPTIONAL_COLUMNS
    )


def _sort_value(row: TrafficRow, sort: str) -> float:
    values = {
        "name": 0.0,
        "requests": row.rates.requests,
        "errors": row.rates.errors,
        "tokens": row.rates.tokens,
        "first": row.rates.first_token or 0.0,
        "load": float(row.load),
    }
    return values[sort]


def _cells(row: TrafficRow, head: Sequence[str]) -> Sequence[str]:
    first = row.rates.first_token
    numbers = (
        _number(row.rates.requests),
        _number(row.rates.errors),
        _number(row.rates.tokens),
        "-" if first is None else f"{first * 1000:.0f} ms" if first < 10 else f"{first:.1f} s",
        str(row.load),
    )
    name, last = (NO_MODEL_NAMES[row.name], "-") if _has_no_model(row) else (row.name, row.last)
    return (name, *(f"{cell:>{len(title)}}" for cell, title in zip(numbers, head[1:], strict=False)), last)


def _has_no_model(row: TrafficRow) -> bool:
    """Return whether the row counts requests without a known model; a real model named `unknown` has instances."""
    return row.name in NO_MODEL_NAMES and row.last == "0"


def _style(row: TrafficRow) -> str:
    style = "" if _has_no_model(row) else STYLES.get(row.last, "")
    return style or ("yellow" if row.rates.errors else "")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
