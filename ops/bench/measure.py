"""Measure one scenario on one running router: times at the clients, CPU and memory of the router."""

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass, field

from load import ClientStatistics, load
from processes import Program
from scenarios import Scenario

MEMORY_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one round: CPU in microseconds, times at the clients in milliseconds, memory in MB (KB a stream).

    `memory_stream` is the router's growth since its start, divided by the largest number of open streams.
    """

    cpu_request: float | None
    cpu_event: float | None
    cores: float
    rate: float
    p50: float | None
    p99: float | None
    first_p50: float | None
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
    """Return the figures of one round. `idle` is the router's memory before its first request."""
    samples: list[float] = []
    sampling = asyncio.create_task(_sample_memory(router, samples))
    before = router.cpu()
    clients = await load(port, scenario, seconds)
    spent = router.cpu() - before
    sampling.cancel()
    return figures(scenario, clients, spent, [*samples, router.memory()], idle)


def figures(scenario: Scenario, clients: ClientStatistics, spent: float, samples: list[float], idle: float) -> Figures:
    answered, peak = len(clients.took), max(samples)
    if scenario.once and clients.most_open < scenario.connections:
        clients.failures[f"only {clients.most_open} of {scenario.connections} open at once"] += 1
    return Figures(
        cpu_request=spent / answered * 1e6 if answered else None,
        cpu_event=spent / clients.events * 1e6 if clients.events else None,
        cores=spent / clients.seconds,
        rate=answered / clients.seconds,
        p50=_percentile(clients.took, 50),
        p99=_percentile(clients.took, 99),
        first_p50=_percentile(clients.first, 50),
        first_p99=_percentile(clients.first, 99),
        memory=peak,
        memory_idle=idle,
        memory_stream=(peak - idle) / clients.most_open * 1024 if clients.events and clients.most_open else None,
        most_open=clients.most_open,
        answered=answered,
        failures=dict(Counter(clients.failures)),
    )


async def _sample_memory(router: Program, samples: list[float]) -> None:
    while True:
        samples.append(router.memory())
        await asyncio.sleep(MEMORY_INTERVAL_SECONDS)


def _percentile(seconds: list[float], percent: int) -> float | None:
    if len(seconds) < 2:
        return seconds[0] * 1000 if seconds else None
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000
