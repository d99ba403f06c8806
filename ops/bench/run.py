"""Measures routers side by side: the same backends, the same load, in one run, several rounds.

What counts is the CPU that a router's processes spend on a request, and on a streamed event: that holds on a busy
machine, where seconds and requests a second do not. The routers take turns, and medians are shown.

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

try:
    import uvloop
    from measure import Figures, measure
    from peers import PEERS, MissingError, Place, by_command
    from processes import Program, allow_files, free_port
    from report import OURS, table
    from scenarios import MODEL, SCENARIOS, Scenario
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: pip install 'infinilm-svc[bench]'")

WARM = Scenario("warm", "before what is measured", connections=32, seconds=0.3)


@dataclasses.dataclass(frozen=True, slots=True)
class Router:
    program: Program
    port: int
    idle: float  # MB before anybody asked it anything


Found = dict[str, dict[str, list[Figures | None]]]  # by scenario, then by router: each round's


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is stopped
    scenarios = [SCENARIOS[name] for name in options.scenarios]
    try:
        allow_files(max(scenario.files for scenario in scenarios))
    except PermissionError as problem:
        sys.exit(f"run.py: {problem}")
    plot = plotter() if options.plot else None
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        say(f"others use this machine (load {os.getloadavg()[0]:.1f}): figures will differ from round to round")
    found: Found = {scenario.name: {name: [] for name in options.routers} for scenario in scenarios}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, backends(Path(scratch)) as ports:
        for number in range(options.rounds):
            with ExitStack() as stack:
                places = {name: Place(free_port(), ports, Path(scratch), options.cache) for name in options.routers}
                routers = {
                    name: stack.enter_context(running(name, options.peers[name], place))
                    for name, place in places.items()
                }
                one_round(number, routers, scenarios, options.seconds, found)
    for scenario in scenarios:
        print(f"\n{table(scenario, found[scenario.name])}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=dataclasses.asdict) + "\n")
    if plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(found, options.plot)
        print(f"\n{options.plot}")
    return 0 if whole(found) else 1


def one_round(
    number: int, routers: Mapping[str, Router | None], scenarios: list[Scenario], seconds: float | None, found: Found
) -> None:
    """One router after the other on each scenario, so that a busy minute of the machine touches all of them."""
    names = list(routers) if number % 2 == 0 else list(routers)[::-1]
    for scenario in scenarios:
        for name in names:
            figures, router = None, routers[name]
            if router:
                figures = uvloop.run(measure(router.program, router.port, scenario, router.idle, seconds))
                say(f"{name} {scenario.name}: {progress(figures)}")
            found[scenario.name][name].append(figures)


@contextmanager
def running(name: str, command: Callable[[Place], list[str]], place: Place) -> Iterator[Router | None]:
    """The router, when it answers; a fresh process for every round."""
    log = place.cache / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        program = Program(command(place), log, cwd=place.directory)
    except (MissingError, OSError) as problem:
        say(f"{name}: {problem}")
        yield None
        return
    try:
        if not program.answers(place.port, MODEL):
            say(f"{name} does not answer; it says: {log}")
            yield None
            return
        router = Router(program, place.port, program.memory())
        uvloop.run(measure(program, place.port, WARM, router.idle))
        yield router
    finally:
        program.stop()


@contextmanager
def backends(directory: Path) -> Iterator[list[int]]:
    """Two of them, in one process; it ends when its standard input does."""
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


def whole(found: Found) -> bool:
    """Every router was measured, and ours failed no request."""
    every = [(name, figures) for rounds in found.values() for name, of in rounds.items() for figures in of]
    return all(figures and not (name == OURS and figures.failed) for name, figures in every)


def progress(figures: Figures) -> str:
    event = f", {figures.cpu_event:.1f} µs an event" if figures.cpu_event else ""
    failed = f"; FAILED {figures.failures}" if figures.failures else ""
    return f"{figures.cpu_request or 0:.1f} µs a request{event}, {figures.rate:.0f} requests/s{failed}"


def plotter() -> Callable[[Found, Path], None]:
    """Looked for before the run, and not after it."""
    try:
        from plot import plot
    except ImportError as missing:
        sys.exit(f"run.py: --plot needs {missing.name}: pip install 'infinilm-svc[bench]', or give --plot ''")
    return plot


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = ",".join(name for name in SCENARIOS if name != "flood")
    parser.add_argument("--routers", default=",".join(PEERS), help="which, such as ours,nginx (default: %(default)s)")
    parser.add_argument("--scenarios", default=listed, help=f"some of {','.join(SCENARIOS)} (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, help="of each scenario, in place of its own")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="one more router")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--plot", default="build/bench.svg", metavar="FILE", help="'' for none (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/router-bench", help="where peers live")
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
