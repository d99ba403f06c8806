"""Draw the cost of a request and of an event for each router, with one panel for each scenario."""

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import report
from scenarios import SCENARIOS

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402 - the backend must be chosen first

OURS, OTHERS = "#1f6feb", "#b0b7c0"
PANELS_PER_ROW = 3


def plot(results: Mapping[str, report.Rounds], path: Path) -> None:
    """Write the figure; the suffix of the path chooses the format: .svg, .png, .pdf."""
    columns = min(PANELS_PER_ROW, len(results))
    rows = -(-len(results) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 2.9 * rows), squeeze=False)
    panels = axes.flat
    for name, rounds in results.items():
        _panel(next(panels), name, rounds)
    for unused in panels:
        unused.set_visible(False)
    figure.suptitle("CPU of the router's processes: less is better (median; lines from least to most)")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _panel(axis: pyplot.Axes, name: str, rounds: report.Rounds) -> None:
    scenario = SCENARIOS[name]
    costs = {router: values for router in rounds if (values := report.costs(rounds[router], scenario))}
    order = sorted(costs, key=lambda router: -statistics.median(costs[router]))
    medians = [statistics.median(costs[router]) for router in order]
    below = [median - min(costs[router]) for router, median in zip(order, medians, strict=True)]
    above = [max(costs[router]) - median for router, median in zip(order, medians, strict=True)]
    colours = [OURS if router == report.OURS else OTHERS for router in order]
    bars = axis.barh(order, medians, xerr=[below, above], color=colours, ecolor="#57606a")
    axis.bar_label(bars, [f"{median:.1f}" for median in medians], padding=4)
    axis.margins(x=0.2)
    axis.set_title(f"{name}: {scenario.description}", fontsize=10)
    axis.set_xlabel(f"µs a{'n event' if scenario.events else ' request'}")
    axis.spines[["top", "right"]].set_visible(False)
