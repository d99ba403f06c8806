"""Measure what the processes of a router pay for counting together, and where the lock of the limits bends.

N processes choose an instance, begin an attempt and end it, as fast as they can, and do nothing else: a router also
relays the request, which costs tens of times as much. Each row has the CPU of one such request and the requests of all
processes a second: for instances without a limit, with a limit that is far away (each process counts in its own slot),
and with a limit that is near (the lock decides). The first row is a process that counts alone, as with `workers = 1`.

    python ops/bench/shared_counts.py
    python ops/bench/shared_counts.py --processes 1,2,4,8 --seconds 2
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable

from packages import install_command

try:
    import msgspec
    from report import aligned

    from svc.router.balance.balancer import Balancer
    from svc.router.balance.health_tracker import HealthTracker
    from svc.router.balance.routing_request import RoutingRequest
    from svc.router.balance.target import Target
    from svc.router.telemetry.event_reporter import EventReporter
    from svc.router.telemetry.statistics import Statistics
    from svc.router.workers.messages import PublishedTable, Snapshot, encode
    from svc.router.workers.relay_balancer import RelayBalancer
    from svc.router.workers.shared_counts import SharedCounts
    from svc.settings import RouterSettings
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench')}")

INSTANCES = 8
FAR_LIMIT = 1_000_000
BATCH = 200  # requests between two looks at the clock
MODEL = "m"


def balancer(counts: SharedCounts | None, limit: int) -> Balancer:
    """Return the balancer of one of several processes; with `counts` None, that of a process alone."""
    settings, statistics = RouterSettings(), Statistics()
    health = HealthTracker(settings, time.monotonic, statistics, EventReporter(1))
    targets = tuple(instance(number, limit) for number in range(INSTANCES))
    if counts is None:
        alone = Balancer(settings, time.monotonic, health, statistics)
        alone.replace(targets)
        return alone
    made = RelayBalancer(settings, time.monotonic, health, statistics, counts, lambda observation: None)
    table = PublishedTable(targets, frozenset(target.name for target in targets))
    made.adopt(Snapshot(ready=True, table_number=1, table=msgspec.Raw(encode(table))))
    return made


def instance(number: int, limit: int) -> Target:
    metadata = {"max_concurrency": limit}
    return Target(name=f"i{number}", host="h", port=1, url="http://h:1", models=(MODEL,), metadata=metadata)


def work(counts: SharedCounts | None, limit: int, seconds: float) -> tuple[int, float]:
    """Send requests for so long; return their number and the CPU seconds that they took."""
    chooser, request, requests = balancer(counts, limit), RoutingRequest(MODEL), 0
    end, cpu = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end:
        for _ in range(BATCH):
            target = chooser.pick(request)
            assert target is not None
            chooser.begin_attempt(target)
            chooser.end_attempt(target, 0.1, failed=False)
        requests += BATCH
    return requests, time.process_time() - cpu


def fork(task: Callable[[], object]) -> tuple[int, int]:
    """Run the task in a child process; return its pid, and the descriptor from which its result can be read as JSON."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.write(write, json.dumps(task()).encode())
    os._exit(0)


def measure(processes: int, limit: int, seconds: float) -> tuple[float, float]:
    """Return the CPU microseconds of a request, and the requests of all processes a second."""
    counts, children = SharedCounts(processes), []
    for slot in range(processes):
        counts.slot = slot
        children.append(fork(lambda: work(counts, limit, seconds)))
    requests = cpu = 0.0
    for pid, descriptor in children:
        os.waitpid(pid, 0)
        with os.fdopen(descriptor) as results:
            count, used = json.load(results)
        requests, cpu = requests + count, cpu + used
    assert not any(any(counts.row(f"instance i{number}")) for number in range(INSTANCES)), "a count was lost"
    counts.close()
    return cpu / requests * 1e6, requests / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,4,8", help="numbers of processes, separated by commas")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args()
    alone = [cpu / requests * 1e6 for requests, cpu in (work(None, n, options.seconds) for n in (0, FAR_LIMIT, 1))]
    rows = [["processes", *(c for kind in ("no", "far", "near") for c in (f"CPU us, {kind} limit", "requests/s"))]]
    rows.append(["alone", *(cell for cpu in alone for cell in (f"{cpu:.2f}", "-"))])
    cost, rate = math.inf, 0.0
    for processes in map(int, options.processes.split(",")):
        limits = (0, FAR_LIMIT, processes)  # the last one is never exceeded either: each process has one request
        results = [measure(processes, limit, options.seconds) for limit in limits]
        rows.append([str(processes), *(cell for cpu, rate in results for cell in (f"{cpu:.2f}", f"{rate:,.0f}"))])
        cost, rate = min(cost, results[2][0] - results[1][0]), max(rate, results[2][1])
    print(f"{os.cpu_count()} cores, {INSTANCES} instances\n", *aligned(rows), sep="\n")
    print(f"\nThe lock costs {cost:.1f} us, and it admits {rate:,.0f} requests/s.")


if __name__ == "__main__":
    main()
