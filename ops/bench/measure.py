"""One scenario on one running router: what the clients saw, and what the router spent."""

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass, field

from load import Tally, load
from processes import Program
from scenarios import Scenario

LOOK = 1.0  # seconds between two looks at the router's memory


@dataclass(frozen=True, slots=True)
class Figures:
    """One round. Times of CPU in microseconds, of waiting in milliseconds, memory in MB (KB a stream).

    `memory_stream` is all that the router has grown by since its start, over the streams that were open at most.
    """

    cpu_request: float | None
    cpu_event: float | None
    cores: float
    rate: float
    p50: float | None
    p99: float | None
    first_p99: float | None
    memory: float
    memory_idle: float
    memory_stream: float | None
    most_open: int
    answered: int
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


async def measure(router: Program, port: int, scenario: Scenario, idle: float, seconds: float | None = None) -> Figures:
    """`idle` is the router's memory before anybody asked it anything."""
    looks: list[float] = []
    looking = asyncio.create_task(_look(router, looks))
    before = router.cpu()
    tally = await load(port, scenario, seconds)
    spent = router.cpu() - before
    looking.cancel()
    return figures(scenario, tally, spent, [*looks, router.memory()], idle)


def figures(scenario: Scenario, tally: Tally, spent: float, looks: list[float], idle: float) -> Figures:
    answered, peak = len(tally.took), max(looks)
    if scenario.once and tally.most_open < scenario.connections:
        tally.failures[f"only {tally.most_open} of {scenario.connections} open at once"] += 1
    return Figures(
        cpu_request=spent / answered * 1e6 if answered else None,
        cpu_event=spent / tally.events * 1e6 if tally.events else None,
        cores=spent / tally.seconds,
        rate=answered / tally.seconds,
        p50=_percentile(tally.took, 50),
        p99=_percentile(tally.took, 99),
        first_p99=_percentile(tally.first, 99),
        memory=peak,
        memory_idle=idle,
        memory_stream=(peak - idle) / tally.most_open * 1024 if tally.events and tally.most_open else None,
        most_open=tally.most_open,
        answered=answered,
        failures=dict(Counter(tally.failures)),
    )


async def _look(router: Program, looks: list[float]) -> None:
    while True:
        looks.append(router.memory())
        await asyncio.sleep(LOOK)


def _percentile(seconds: list[float], percent: int) -> float | None:
    if len(seconds) < 2:
        return seconds[0] * 1000 if seconds else None
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000
