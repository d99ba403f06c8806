"""Measure the registry under the load of a fleet: babysitters that send heartbeats, and routers that watch.

Everything is on: each request carries a token, instances report their load, the watchers follow the list, the events
and the loads, and the metrics are read.

It prints the CPU of the registry's processes (in % of a core), the requests that the registry answered, and the time
that a changed state takes to reach the watchers. The fleet is a separate process, whose CPU does not count.

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

from packages import install_command

try:
    from fleet import Fleet
    from processes import START_TIMEOUT_SECONDS, Program, allow_files, free_port
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

SVC = Path(sys.executable).parent / "svc"
TOKEN = "token-of-the-benchmark"
TOKEN_OPTIONS = "--token-file token --read-token-file token --loopback-needs-token"


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """Times in milliseconds, memory in MB, CPU in seconds."""

    seconds: float
    cpu: float
    memory: float
    beats: int
    checks: int
    loads: int
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    try:
        allow_files(4096)
    except PermissionError as problem:
        sys.exit(f"registry.py: {problem}")
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        say(f"other processes use this machine (load {os.getloadavg()[0]:.1f}): times will be longer than usual")
    port = free_port()
    o = options
    fleet = Fleet(
        port, o.instances, o.watchers, o.interval, o.changes, o.seconds, o.settle, o.keep_alive, TOKEN, o.loads
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        token_file = Path(scratch) / "token"
        token_file.touch(0o600)
        token_file.write_text(TOKEN)
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
    """Start the fleet, and read the registry's CPU clock when the fleet reports the begin and the end."""
    script = Path(__file__).with_name("fleet.py")
    argv = [sys.executable, str(script), json.dumps(dataclasses.asdict(fleet))]
    say(f"{2 * fleet.instances} services register")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    cpu_marks, event, seconds = [], {}, 0.0
    try:
        assert process.stdout
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] in ("begin", "end"):
                cpu_marks.append(program.cpu())
                seconds = event.get("seconds", 0.0)
            say(STEPS.get(event["event"], "").format(settle=fleet.settle, seconds=fleet.seconds))
    finally:
        process.terminate()
        process.wait()
    if event.get("event") != "figures":
        sys.exit("registry.py: the fleet ended too early")
    return figures(event, seconds, cpu_marks[1] - cpu_marks[0], program.memory())


def figures(counts: dict[str, Any], seconds: float, cpu: float, memory: float) -> Figures:
    took, seen, failures = counts["took"], counts["seen"], counts["failures"]
    if not seen:
        failures["no change reached a watcher"] = 1
    return Figures(
        seconds,
        cpu,
        memory,
        counts["beats"],
        counts["checks"],
        counts["loads"],
        counts["changes"],
        len(seen),
        counts["list_bytes"],
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
        ("loads/s", f"{f.loads / f.seconds:.0f}"),
        ("health checks/s", f"{f.checks / f.seconds:.0f}"),
        ("changes, and lists of it that watchers got", f"{f.changes}, {f.lists} of {f.list_bytes / 1e6:.2f} MB"),
        ("CPU of the registry", f"{f.percent:.1f} % of a core"),
        ("memory", f"{f.memory:.0f} MB"),
        ("a heartbeat, p50 / p99", f"{f.beat_p50:.1f} / {f.beat_p99:.1f} ms"),
        ("a change at the watchers, p50 / p99 / max", f"{f.seen_p50:.0f} / {f.seen_p99:.0f} / {f.seen_max:.0f} ms"),
        ("failures", ", ".join(f"{count} {kind}" for kind, count in f.failures.items()) or "none"),
    ]
    return "\n".join(["| | |", "|---|---:|", *[f"| {name} | {value} |" for name, value in rows]])


def command(options: argparse.Namespace, port: int) -> list[str]:
    if options.command:
        return shlex.split(options.command.format(port=port))
    return [str(SVC), *f"registry --port {port} {TOKEN_OPTIONS}".split(), "--store", options.store]


def answers(program: Program, port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while program.is_alive and time.monotonic() < deadline:
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
    default = "default: %(default)s"
    parser.add_argument("--instances", type=int, default=1000, help=f"two registrations each; {default}")
    parser.add_argument("--watchers", type=int, default=20, help=default)
    parser.add_argument(
        "--interval", type=float, default=10, help=f"seconds between two heartbeats of a name; {default}"
    )
    parser.add_argument("--changes", type=float, default=2, help=f"seconds between two changes, on average; {default}")
    parser.add_argument("--seconds", type=float, default=60, help=f"duration of the measurement; {default}")
    parser.add_argument(
        "--settle",
        type=float,
        default=35,
        help=f"seconds before the measurement, for the first health checks; {default}",
    )
    parser.add_argument(
        "--loads", type=float, default=2, help=f"seconds between two loads of an instance; 0: none; {default}"
    )
    parser.add_argument("--keep-alive", action="store_true", help="heartbeats share connections; babysitters' do not")
    parser.add_argument(
        "--store", default="sqlite:registry.db", help=f"a path is relative to a temporary directory; {default}"
    )
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
