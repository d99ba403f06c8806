"""Formats a router's answer to `svc route`: the choice, its reasons, and a table of the candidates. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from svc.terminal.table import TableRow, crop, table_blocks

HEAD = ("CANDIDATE", "IN FLIGHT", "WORK", "WEIGHT", "CACHE", "STATE")
LABEL_COLUMNS = 10
CHOSEN = "chosen"


def route_lines(route: Mapping[str, Any], width: int) -> list[Text]:
    """Return the lines for a terminal of this width."""
    lines = [Text(f"{label:{LABEL_COLUMNS}} {value}") for label, value in _details(route)]
    if route["candidates"]:
        rows = [_row(candidate, route["instance"]) for candidate in route["candidates"]]
        lines += [Text(), *crop(table_blocks(HEAD, rows, width, optional=("CACHE", "WEIGHT", "WORK")), None)]
    return lines


def _details(route: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "request", f"{route['method']} {route['path']}"
    model, requested = route["model"], route["requested_model"]
    if model is None:
        yield "model", requested or "none is named: any"
    else:
        yield "model", model if model == requested else f"{model}, in place of {requested}"
    if route["object_id"]:
        yield "object", route["object_id"]
    if route["policy"]:
        yield "policy", route["policy"]
    if route["session"]:
        yield "session", f"{route['session']!r}: {route['session_source']}"
    yield "instance", route["instance"] or ("none yet: it would wait" if route["waits"] else "none")
    for number, reason in enumerate(route["why"]):
        yield "" if number else "because", reason


def _row(candidate: Mapping[str, Any], chosen: str | None) -> TableRow:
    limit, excluded = candidate["max_concurrency"], candidate["excluded"]
    in_flight = f"{candidate['in_flight']} of {limit}" if limit else str(candidate["in_flight"])
    state = CHOSEN if candidate["name"] == chosen else ""
    state = f"{state}, though {excluded}" if state and excluded else state or excluded
    work = "" if candidate["work"] is None else str(candidate["work"])
    cells = (candidate["name"], in_flight, work, str(candidate["weight"]), candidate["cache_type"], state)
    return TableRow(cells, "yellow" if excluded else "", (), ())
