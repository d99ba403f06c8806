"""Measure routers side by side: the same backends and the same load, in one run of several rounds.

The main figure is the CPU of a router's processes for a request, and for a streamed event: other load of the machine
changes it little, unlike seconds and requests a second. The routers take turns, and the table shows medians.

    python ops/bench/run.py
    python ops/bench/run.py --routers ours,nginx,vllm-router --scenarios small,stream --rounds 3
    python ops/bench/run.py --scenarios flood
    python ops/bench/run.py --routers ours,other --peer other='other --port {port} --static-services {static}'
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from packages import install_command

try:
    import uvloop
    from measure import Figures, measure
    from peers import PEERS, MissingError, Target, by_command
    from processes import Program, allow_files, free_port
    from report import OURS, table
    from scenarios import MODEL, SCENARIOS, Scenario
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

WARM_UP = Scenario("warm", "before the measurement", connections=32, seconds=0.3)


@dataclasses.dataclass(frozen=True, slots=True)
class Router:
    program: Program
    port: int
    idle: float  # MB before its first request


Results = dict[str, dict[str, list[Figures | None]]]  # by scenario, then by router: the figures of each round


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    scenarios = [SCENARIOS[name] for name in options.scenarios]
    try:
        allow_files(max(scenario.files for scenario in scenarios))
    except PermissionError as problem:
        sys.exit(f"run.py: {problem}")
    plot = plotter() if options.plot else None
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        say(f"other processes use this machine (load {os.getloadavg()[0]:.1f}): figures will vary from round to round")
    results: Results = {scenario.name: {name: [] for name in options.routers} for scenario in scenarios}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, backends(Path(scratch)) as ports:
        for number in range(options.rounds):
            with ExitStack() as stack:
                targets = {name: Target(free_port(), ports, Path(scratch), options.cache) for name in options.routers}
                routers = {
                    name: stack.enter_context(running(name, options.peers[name], target))
                    for name, target in targets.items()
                }
                measure_round(number, routers, scenarios, options.seconds, results)
    for scenario in scenarios:
        print(f"\n{table(scenario, results[scenario.name])}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, default=dataclasses.asdict) + "\n")
    if plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(results, options.plot)
        print(f"\n{options.plot}")
    return 0 if is_complete(results) else 1


def measure_round(
    number: int,
    routers: Mapping[str, Router | None],
    scenarios: list[Scenario],
    seconds: float | None,
    results: Results,
) -> None:
    """Measure one router after the other in each scenario, so that other load of the machine affects all of them."""
    names = list(routers) if number % 2 == 0 else list(routers)[::-1]
    for scenario in scenarios:
        for name in names:
            figures, router = None, routers[name]
            if router:
                figures = uvloop.run(measure(router.program, router.port, scenario, router.idle, seconds))
                say(f"{name} {scenario.name}: {progress(figures)}")
            results[scenario.name][name].append(figures)


@contextmanager
def running(name: str, command: Callable[[Target], list[str]], target: Target) -> Iterator[Router | None]:
    """Start a router and yield it once it answers; yield None where it does not."""
    log = target.cache / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        program = Program(command(target), log, cwd=target.directory)
    except (MissingError, OSError) as problem:
        say(f"{name}: {problem}")
        yield None
        return
    try:
        if not program.wait_until_ready(target.port, MODEL):
            say(f"{name} does not answer; it says: {log}")
            yield None
            return
        router = Router(program, target.port, program.memory())
        uvloop.run(measure(program, target.port, WARM_UP, router.idle))
        yield router
    finally:
        program.stop()


@contextmanager
def backends(directory: Path) -> Iterator[list[int]]:
    """Start two backends in one process, and yield their ports; the process ends with its standard input."""
    script = Path(__file__).with_name("backends.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program = Program([sys.executable, str(script)], directory / "backends.log", **pipes)
    try:
        line = program.output.readline()
        if not line:
            sys.exit(f"run.py: the backends did not start: {program.log.read_text().strip()}")
        yield json.loads(line)
    finally:
        program.stop()


def is_complete(results: Results) -> bool:
    """Return whether every router was measured, and ours failed no request."""
    every = [(name, figures) for rounds in results.values() for name, all_of in rounds.items() for figures in all_of]
    return all(figures and not (name == OURS and figures.failed) for name, figures in every)


def progress(figures: Figures) -> str:
    event = f", {figures.cpu_event:.1f} µs an event" if figures.cpu_event else ""
    failed = f"; FAILED {figures.failures}" if figures.failures else ""
    return f"{figures.cpu_request or 0:.1f} µs a request{event}, {figures.rate:.0f} requests/s{failed}"


def plotter() -> Callable[[Results, Path], None]:
    """Return the function that draws the plot, or exit before the run where matplotlib is missing."""
    try:
        from plot import plot
    except ImportError as missing:
        sys.exit(f"run.py: --plot needs {missing.name}: {install_command('bench')}, or give --plot ''")
    return plot


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ",".join(name for name in SCENARIOS if name != "flood")
    parser.add_argument("--routers", default=",".join(PEERS), help="such as ours,nginx (default: %(default)s)")
    parser.add_argument("--scenarios", default=default, help=f"some of {','.join(SCENARIOS)} (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, help="of each scenario, in target of its own")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="one more router")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--plot", default="build/bench.svg", metavar="FILE", help="'' for none (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache/router-bench", help="directory of installed peers"
    )
    options = parser.parse_args()
    options.routers, options.scenarios = options.routers.split(","), options.scenarios.split(",")
    options.peers = PEERS | {name: by_command(line) for name, _, line in (p.partition("=") for p in options.peer)}
    options.plot = Path(options.plot) if options.plot else None
    for kind, names, known in (("router", options.routers, options.peers), ("scenario", options.scenarios, SCENARIOS)):
        for name in names:
            if name not in known:
                parser.error(f"unknown {kind} {name!r}; there are {', '.join(known)}")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
