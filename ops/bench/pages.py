"""Measure the cost of open pages: the same requests with the streams of N pages and without, in turn, on one router.

The figure is the CPU of the router's processes for a request, as in run.py. Each round has both, in alternating order,
and its own ratio, so that other load of the machine affects both.

    python ops/bench/pages.py
    python ops/bench/pages.py --pages 64 --instances 200 --rounds 15
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packages import install_command

try:
    import uvloop
    from measure import Figures, measure
    from peers import Target, static_services
    from processes import free_port
    from report import aligned, number
    from run import Router, backends, running, say
    from scenarios import MODEL, SCENARIOS
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

OPEN, CLOSED = "open", "closed"
STREAM_REQUEST = b"GET /ui/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
FIRST_EVENT_TIMEOUT_SECONDS = 10


@dataclass
class Page:
    """One open stream, which is read as a browser reads it."""

    ticks: int = 0
    bytes: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(STREAM_REQUEST)
            status = await reader.readline()
            if b" 200 " not in status:
                raise ConnectionError(f"GET /ui/stream: {status.decode(errors='retarget').strip() or 'no answer'}")
            async for line in reader:
                self.bytes += len(line)
                if line.startswith(b"event: tick"):
                    self.ticks += 1
                    self.begun.set()
            raise ConnectionError("GET /ui/stream: the router ended it")
        finally:
            writer.close()


@asynccontextmanager
async def open_pages(port: int, count: int) -> AsyncIterator[list[Page]]:
    """Yield open pages; raise OSError when one does not open, or is closed."""
    pages = [Page() for _ in range(count)]
    reading = [asyncio.create_task(page.read(port)) for page in pages]
    try:
        begun = asyncio.gather(*(asyncio.wait_for(page.begun.wait(), FIRST_EVENT_TIMEOUT_SECONDS) for page in pages))
        await asyncio.wait([begun, *reading], return_when=asyncio.FIRST_COMPLETED)
        _raise_if_ended(reading)
        await begun
        yield pages
        _raise_if_ended(reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


def _raise_if_ended(reading: list[asyncio.Task[None]]) -> None:
    for task in reading:
        if task.done():
            task.result()


@dataclass
class PageCosts:
    """The figures of every round."""

    rounds: dict[str, list[Figures]] = field(default_factory=lambda: {CLOSED: [], OPEN: []})
    ticks: int = 0
    bytes: int = 0

    @property
    def failed(self) -> int:
        return sum(figures.failed for rounds in self.rounds.values() for figures in rounds)

    def costs(self, kind: str) -> list[float]:
        return [figures.cpu_request or 0 for figures in self.rounds[kind]]

    def ratio(self) -> float:
        """Return the cost with pages divided by the cost without: the median of each round's own ratio."""
        pairs = zip(self.costs(OPEN), self.costs(CLOSED), strict=True)
        return statistics.median(with_them / without for with_them, without in pairs if without)


async def measure_rounds(router: Router, options: argparse.Namespace) -> PageCosts:
    costs = PageCosts()
    for number in range(options.rounds):
        for kind in (CLOSED, OPEN) if number % 2 == 0 else (OPEN, CLOSED):
            async with open_pages(router.port, options.pages if kind == OPEN else 0) as pages:
                figures = await measure(router.program, router.port, SCENARIOS["small"], router.idle, options.seconds)
            costs.rounds[kind].append(figures)
            costs.ticks += sum(page.ticks for page in pages)
            costs.bytes += sum(page.bytes for page in pages)
            say(f"{len(pages)} pages: {figures.cpu_request or 0:.1f} µs a request, {figures.rate:.0f} requests/s")
    return costs


def table(costs: PageCosts, pages: int) -> str:
    head = ["pages open", "CPU µs/request", "from-to", "to none", "requests/s", "p50 ms", "p99 ms", "failed"]
    return "\n".join(aligned([head, _row(costs, CLOSED, 0, 1.0), _row(costs, OPEN, pages, costs.ratio())]))


def _row(costs: PageCosts, kind: str, pages: int, ratio: float) -> list[str]:
    rounds, values = costs.rounds[kind], costs.costs(kind)

    def median(of: Callable[[Figures], float | None], digits: int) -> str:
        return number(statistics.median(of(figures) or 0 for figures in rounds), digits)

    cells = [str(pages), number(statistics.median(values), 1), f"{number(min(values), 1)}-{number(max(values), 1)}"]
    cells += [number(ratio, 3), median(lambda f: f.rate, 0), median(lambda f: f.p50, 2), median(lambda f: f.p99, 2)]
    return [*cells, str(sum(figures.failed for figures in rounds))]


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, backends(Path(scratch)) as ports:
        instance_ports = [ports[number % len(ports)] for number in range(options.instances)]
        target = Target(free_port(), ports, Path(scratch), Path(scratch))
        static = target.write("crowd.json", static_services(instance_ports, MODEL))
        command = [options.svc, "router", "--port", str(target.port), "--static-services", static]
        with running("ours", lambda _: command, target) as router:
            if router is None:
                return 1
            try:
                costs = uvloop.run(measure_rounds(router, options))
            except (OSError, TimeoutError) as problem:
                sys.exit(f"pages.py: {str(problem) or 'GET /ui/stream: no tick came'}")
    print(table(costs, options.pages))
    print(f"\nread by the pages: {costs.ticks} ticks, {costs.bytes / 1024:.0f} KB")
    if options.json:
        cost_by_kind = {kind: costs.costs(kind) for kind in costs.rounds}
        options.json.write_text(
            json.dumps({"ratio": costs.ratio(), "ticks": costs.ticks, "costs": cost_by_kind}) + "\n"
        )
    increase = (costs.ratio() - 1) * 100
    if increase > options.most:
        say(f"pages.py: a request costs {increase:.1f} % more with pages open; {options.most:g} % is the most it may")
        return 1
    return 1 if costs.failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=5, help="number of open pages (default: %(default)s)")
    parser.add_argument(
        "--instances", type=int, default=2, help="number of instances that they show (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2, help="of each half of a round (default: %(default)s)")
    parser.add_argument("--most", type=float, default=3, help="percent that they may cost (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the ratio and every round's cost")
    parser.add_argument(
        "--svc", default=str(Path(sys.executable).with_name("svc")), help="which (default: of this environment)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
