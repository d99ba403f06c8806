"""Measure what several processes of our router cost: CPU for a request and for a streamed event, by their number.

With more processes, each has fewer connections, so it finds fewer of them readable at a time, and sleeps more often.
That alone makes a request dearer. Therefore each number of processes is measured with the same clients, and with as
many clients for each process as one process has. `sleeps` is how often the processes wait for the kernel for a request
or an event. The ratios are to one process in the same round.

    python ops/bench/scaling.py
    python ops/bench/scaling.py --processes 1,2,4 --rounds 5 --seconds 2
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from packages import install_command

try:
    import uvloop
    from load import load
    from peers import Target, ours
    from processes import allow_files, free_port
    from report import aligned
    from run import Router, backends, running, say
    from scenarios import SCENARIOS, Scenario
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

WAYS = ("same", "each")
# The processes wait at one listening socket: the kernel wakes several of them, and one accepts.
CONNECT = Scenario("connect", "one client, a new connection for each request", connections=1, burst="cold")
LOADS = {"connect": CONNECT, **SCENARIOS}


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds, and sleeps, for a request or an event."""

    cpu: float
    sleeps: float


Costs = dict[tuple[str, int, str], list[Cost]]  # scenario, processes, way -> one for each round


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,4", help="numbers of processes that relay (default: %(default)s)")
    parser.add_argument(
        "--scenarios", default="small,stream,connect", help="connect, or some of run.py's (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options = parser.parse_args()
    numbers = [int(number) for number in options.processes.split(",")]
    scenarios = [LOADS[name] for name in options.scenarios.split(",")]
    allow_files(max(numbers) * max(scenario.files for scenario in scenarios))
    costs: Costs = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, backends(Path(scratch)) as ports:
        for number in range(options.rounds):
            with ExitStack() as stack:
                targets = {count: Target(free_port(), ports, Path(scratch), Path(scratch)) for count in numbers}
                routers = {count: stack.enter_context(start(count, target)) for count, target in targets.items()}
                order = numbers if number % 2 == 0 else numbers[::-1]
                for scenario in scenarios:
                    for count in order:
                        measure_both_ways(routers[count], count, scenario, options.seconds, costs)
    for scenario in scenarios:
        print(f"\n{table(scenario, numbers, costs)}")
    return 0


def start(count: int, target: Target) -> AbstractContextManager[Router | None]:
    return running(f"ours-{count}", partial(ours, workers=count), target)


def measure_both_ways(router: Router | None, count: int, scenario: Scenario, seconds: float, costs: Costs) -> None:
    if router is None:
        sys.exit(f"scaling.py: the router with {count} processes does not start")
    for way, clients in zip(WAYS, (scenario.connections, count * scenario.connections), strict=True):
        cost = measure(router, dataclasses.replace(scenario, connections=clients), seconds)
        say(f"{scenario.name}, {count} processes, {clients} clients: {cost.cpu:.1f} µs, {cost.sleeps:.3f} sleeps")
        costs.setdefault((scenario.name, count, way), []).append(cost)


def measure(router: Router, scenario: Scenario, seconds: float) -> Cost:
    program = router.program
    cpu, sleeps = program.cpu(), program.sleeps()
    clients = uvloop.run(load(router.port, scenario, seconds))
    cpu, sleeps = program.cpu() - cpu, program.sleeps() - sleeps
    if clients.failures or not clients.took:
        sys.exit(f"scaling.py: {scenario.connections} clients: {dict(clients.failures) or 'no answer'}")
    count = clients.events if scenario.events else len(clients.took)
    return Cost(cpu / count * 1e6, sleeps / count)


def table(scenario: Scenario, numbers: list[int], costs: Costs) -> str:
    unit, clients = "event" if scenario.events else "request", scenario.connections
    heads = [[f"{clients} clients{rest}: CPU µs/{unit}", "to one", "sleeps"] for rest in ("", " for each process")]
    rows = [["processes", *heads[0], *heads[1]]]
    for count in numbers:
        row = [str(count)]
        for way in WAYS:
            measured, one = costs[scenario.name, count, way], costs[scenario.name, numbers[0], way]
            ratios = [cost.cpu / base.cpu for cost, base in zip(measured, one, strict=True)]
            row += [f"{statistics.median(cost.cpu for cost in measured):.1f}", f"{statistics.median(ratios):.2f}"]
            row += [f"{statistics.median(cost.sleeps for cost in measured):.3f}"]
        rows.append(row)
    return "\n".join([f"**{scenario.name}**: {scenario.description}", "", *aligned(rows)])


if __name__ == "__main__":
    sys.exit(main())
