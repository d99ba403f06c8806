"""Measures the registry at work: a fleet of instances with babysitters that heartbeat, and routers that watch.

Prints what the registry's processes spend (in % of a core), what it answers, and how long a change of an instance's
state takes to reach the watchers. The fleet is a process of its own and is not counted.

    python ops/bench/registry.py
    python ops/bench/registry.py --instances 200 --seconds 10
    python ops/bench/registry.py --store redis://localhost:6379/1
    python ops/bench/registry.py --command 'python service_registry.py --port {port}'
"""

import argparse
import dataclasses
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    from beats import Fleet
    from processes import READY, Program, allow_files, free_port
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: pip install 'infinilm-svc[bench]'")

SVC = Path(sys.executable).parent / "svc"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """Times in milliseconds, memory in MB, CPU in seconds."""

    seconds: float
    cpu: float
    memory: float
    beats: int
    checks: int
    changes: int
    lists: int
    list_bytes: int
    beat_p50: float
    beat_p99: float
    seen_p50: float
    seen_p99: float
    seen_max: float
    failures: dict[str, int]

    @property
    def percent(self) -> float:
        return self.cpu / self.seconds * 100


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is stopped
    try:
        allow_files(4096)
    except PermissionError as problem:
        sys.exit(f"registry.py: {problem}")
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        say(f"others use this machine (load {os.getloadavg()[0]:.1f}): times will be worse than they need be")
    port = free_port()
    o = options
    fleet = Fleet(port, o.instances, o.watchers, o.interval, o.changes, o.seconds, o.settle, o.keep_alive)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        program = Program(command(options, port), Path(scratch) / "registry.log", cwd=scratch)
        try:
            if not answers(program, port):
                sys.exit(f"registry.py: it does not answer; it says: {program.log.read_text().strip()[-500:]}")
            figures = measure(program, fleet)
        finally:
            program.stop()
    print(table(fleet, figures))
    if options.json:
        options.json.write_text(json.dumps(dataclasses.asdict(figures) | {"percent": figures.percent}, indent=1) + "\n")
    return 1 if figures.failures else 0


def measure(program: Program, fleet: Fleet) -> Figures:
    """Starts the fleet and reads the registry's clock when the fleet says that it begins and ends."""
    script = Path(__file__).with_name("beats.py")
    words = [sys.executable, str(script), json.dumps(dataclasses.asdict(fleet))]
    say(f"{2 * fleet.instances} services register")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    marks, told, seconds = [], {}, 0.0
    try:
        assert process.stdout
        for line in process.stdout:
            told = json.loads(line)
            if told["event"] in ("begin", "end"):
                marks.append(program.cpu())
                seconds = told.get("seconds", 0.0)
            say(STEPS.get(told["event"], "").format(settle=fleet.settle, seconds=fleet.seconds))
    finally:
        process.terminate()
        process.wait()
    if told.get("event") != "figures":
        sys.exit("registry.py: the fleet ended too early")
    return figures(told, seconds, marks[1] - marks[0], program.memory())


def figures(told: dict[str, Any], seconds: float, cpu: float, memory: float) -> Figures:
    took, seen, failures = told["took"], told["seen"], told["failures"]
    if not seen:
        failures["no change reached a watcher"] = 1
    return Figures(
        seconds,
        cpu,
        memory,
        told["beats"],
        told["checks"],
        told["changes"],
        len(seen),
        told["list_bytes"],
        percentile(took, 50),
        percentile(took, 99),
        percentile(seen, 50),
        percentile(seen, 99),
        max(seen, default=0.0) * 1000,
        failures,
    )


def percentile(seconds: list[float], percent: int) -> float:
    if len(seconds) < 2:
        return sum(seconds) * 1000
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


def table(fleet: Fleet, f: Figures) -> str:
    rows = [
        ("services, watchers", f"{2 * fleet.instances:,}, {fleet.watchers}"),
        ("measured", f"{f.seconds:.0f} s"),
        ("heartbeats/s", f"{f.beats / f.seconds:.0f}"),
        ("health checks/s", f"{f.checks / f.seconds:.0f}"),
        ("changes, and lists of it that watchers got", f"{f.changes}, {f.lists} of {f.list_bytes / 1e6:.2f} MB"),
        ("CPU of the registry", f"{f.percent:.1f} % of a core"),
        ("memory", f"{f.memory:.0f} MB"),
        ("a heartbeat, p50 / p99", f"{f.beat_p50:.1f} / {f.beat_p99:.1f} ms"),
        ("a change at the watchers, p50 / p99 / max", f"{f.seen_p50:.0f} / {f.seen_p99:.0f} / {f.seen_max:.0f} ms"),
        ("failures", ", ".join(f"{count} {what}" for what, count in f.failures.items()) or "none"),
    ]
    return "\n".join(["| | |", "|---|---:|", *[f"| {name} | {value} |" for name, value in rows]])


def command(options: argparse.Namespace, port: int) -> list[str]:
    if options.command:
        return shlex.split(options.command.format(port=port))
    return [str(SVC), "registry", "--port", str(port), "--store", options.store]


def answers(program: Program, port: int) -> bool:
    deadline = time.monotonic() + READY
    while program.alive and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
        time.sleep(0.1)
    return False


def say(line: str) -> None:
    if line:
        print(line, file=sys.stderr, flush=True)


STEPS = {
    "ready": "all are registered; heartbeats and watchers settle for {settle:g} s",
    "begin": "measuring for {seconds:g} s",
    "end": "the watchers get the last change",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told = "default: %(default)s"
    parser.add_argument("--instances", type=int, default=1000, help=f"two registrations each; {told}")
    parser.add_argument("--watchers", type=int, default=20, help=told)
    parser.add_argument("--interval", type=float, default=10, help=f"seconds between two heartbeats of a name; {told}")
    parser.add_argument("--changes", type=float, default=2, help=f"seconds between two changes, on average; {told}")
    parser.add_argument("--seconds", type=float, default=60, help=f"how long it is measured; {told}")
    parser.add_argument(
        "--settle", type=float, default=35, help=f"seconds before that: the first health checks are over then; {told}"
    )
    parser.add_argument("--keep-alive", action="store_true", help="heartbeats share connections; babysitters' do not")
    parser.add_argument("--store", default="sqlite:registry.db", help=f"a path is in a temporary directory; {told}")
    parser.add_argument("--command", metavar="WORDS", help="another registry; {port} is filled in")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures")
    options = parser.parse_args()
    for name in ("instances", "watchers", "interval", "changes", "seconds", "settle"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name} must be above 0")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
