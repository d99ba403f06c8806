"""What a request and an event cost, router by router: a panel a scenario."""

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import report
from scenarios import SCENARIOS

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

OURS, OTHERS = "#1f6feb", "#b0b7c0"
PANELS = 3  # in a row


def plot(found: Mapping[str, report.Rounds], path: Path) -> None:
    """The kind of file is told by its ending: .svg, .png, .pdf."""
    across = min(PANELS, len(found))
    down = -(-len(found) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(4.6 * across, 2.9 * down), squeeze=False)
    panels = axes.flat
    for name, rounds in found.items():
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
    middles = [statistics.median(costs[router]) for router in order]
    less = [middle - min(costs[router]) for router, middle in zip(order, middles, strict=True)]
    more = [max(costs[router]) - middle for router, middle in zip(order, middles, strict=True)]
    colours = [OURS if router == report.OURS else OTHERS for router in order]
    bars = axis.barh(order, middles, xerr=[less, more], color=colours, ecolor="#57606a")
    axis.bar_label(bars, [f"{middle:.1f}" for middle in middles], padding=4)
    axis.margins(x=0.2)
    axis.set_title(f"{name}: {scenario.tells}", fontsize=10)
    axis.set_xlabel(f"µs a{'n event' if scenario.events else ' request'}")
    axis.spines[["top", "right"]].set_visible(False)
