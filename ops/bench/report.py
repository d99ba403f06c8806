"""Format the figures of several rounds as a table that is readable in a terminal and in Markdown."""

import statistics
from collections.abc import Iterable, Mapping

from measure import Figures
from scenarios import Scenario

Rounds = Mapping[str, list["Figures | None"]]  # by router: the figures of each round, None for a failed one
OURS = "ours"


def cost(figures: Figures, scenario: Scenario) -> float | None:
    return figures.cpu_event if scenario.events else figures.cpu_request


def costs(rounds: Iterable[Figures | None], scenario: Scenario) -> list[float]:
    return [value for figures in rounds if figures and (value := cost(figures, scenario)) is not None]


def ratio(rounds: Rounds, name: str, scenario: Scenario) -> float | None:
    """Return our cost divided by that of a router: the median of each round's own ratio, because load affects both."""
    pairs = zip(rounds.get(OURS, []), rounds[name], strict=False)
    both = [(cost(a, scenario), cost(b, scenario)) for a, b in pairs if a and b]
    ratios = [mine / its for mine, its in both if mine and its]
    return statistics.median(ratios) if ratios else None


def table(scenario: Scenario, rounds: Rounds) -> str:
    unit = "event" if scenario.events else "request"
    head = ["router", f"CPU µs/{unit}", "from-to", "ours/it", "requests/s", "p50 ms", "p99 ms"]
    head += (
        ["first p50 ms", "first p99 ms", "idle MB", "MB"]
        + (["KB/stream", "at once"] if scenario.events else [])
        + ["failed"]
    )
    rows = [row(scenario, rounds, name) for name in rounds if any(rounds[name])]
    title = f"**{scenario.name}**: {scenario.description}; medians of {max(map(len, rounds.values()))} rounds"
    return "\n".join([title, "", *aligned([head, *rows])])


def row(scenario: Scenario, rounds: Rounds, name: str) -> list[str]:
    measured = [figures for figures in rounds[name] if figures]
    values = costs(measured, scenario)
    median_cost = statistics.median(values) if values else None
    extremes = f"{number(min(values), 1)}-{number(max(values), 1)}" if values else "-"

    def median(key: str, digits: int = 1) -> str:
        column = [value for figures in measured if (value := getattr(figures, key)) is not None]
        return number(statistics.median(column) if column else None, digits)

    cells = [name, number(median_cost, 1), extremes, number(ratio(rounds, name, scenario), 2)]
    cells += [median("rate", 0), median("p50", 2), median("p99", 2), median("first_p50", 2), median("first_p99", 2)]
    cells += [median("memory_idle"), median("memory")]
    cells += [median("memory_stream"), median("most_open", 0)] if scenario.events else []
    return [*cells, str(sum(figures.failed for figures in measured))]


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table: the first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [rows[0], rule, *rows[1:]]
    return [
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in lines
    ]
