"""Figures of several rounds as a table that reads in a terminal and in Markdown."""

import statistics
from collections.abc import Iterable, Mapping

from measure import Figures
from scenarios import Scenario

Rounds = Mapping[str, list["Figures | None"]]  # by router: one of each round, none where it could not be measured
OURS = "ours"


def cost(figures: Figures, scenario: Scenario) -> float | None:
    return figures.cpu_event if scenario.events else figures.cpu_request


def costs(rounds: Iterable[Figures | None], scenario: Scenario) -> list[float]:
    return [value for figures in rounds if figures and (value := cost(figures, scenario)) is not None]


def ratio(rounds: Rounds, name: str, scenario: Scenario) -> float | None:
    """Ours to its cost: the median over the rounds, each with itself, so that a busy minute touches both."""
    pairs = zip(rounds.get(OURS, []), rounds[name], strict=False)
    both = [(cost(a, scenario), cost(b, scenario)) for a, b in pairs if a and b]
    found = [mine / its for mine, its in both if mine and its]
    return statistics.median(found) if found else None


def table(scenario: Scenario, rounds: Rounds) -> str:
    unit = "event" if scenario.events else "request"
    head = ["router", f"CPU µs/{unit}", "from-to", "ours/it", "requests/s", "p50 ms", "p99 ms"]
    head += ["first p99 ms", "idle MB", "MB"] + (["KB/stream", "at once"] if scenario.events else []) + ["failed"]
    rows = [row(scenario, rounds, name) for name in rounds if any(rounds[name])]
    title = f"**{scenario.name}**: {scenario.tells}; medians of {max(map(len, rounds.values()))} rounds"
    return "\n".join([title, "", *aligned([head, *rows])])


def row(scenario: Scenario, rounds: Rounds, name: str) -> list[str]:
    found = [figures for figures in rounds[name] if figures]
    spent = costs(found, scenario)
    middle = statistics.median(spent) if spent else None
    ends = f"{number(min(spent), 1)}-{number(max(spent), 1)}" if spent else "-"

    def median(key: str, digits: int = 1) -> str:
        values = [value for figures in found if (value := getattr(figures, key)) is not None]
        return number(statistics.median(values) if values else None, digits)

    cells = [name, number(middle, 1), ends, number(ratio(rounds, name, scenario), 2)]
    cells += [median("rate", 0), median("p50", 2), median("p99", 2), median("first_p99", 2)]
    cells += [median("memory_idle"), median("memory")]
    cells += [median("memory_stream"), median("most_open", 0)] if scenario.events else []
    return [*cells, str(sum(figures.failed for figures in found))]


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def aligned(rows: list[list[str]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [rows[0], rule, *rows[1:]]
    return [
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in lines
    ]
