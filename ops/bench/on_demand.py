"""Serve a trace of requests with models on demand, where half of the models fit, and count the loads.

Hosts with GPUs have an instance of each model, and one model that is kept awake; three of the six others have room.
The hosts' decisions and the router's choice are the real code; engines, babysitters and time are simulated.

The table shows
  loads       how often a model was loaded
  best        the fewest loads of any order that is known in advance and lets no request wait longer than the longest
              wait of this run (see demand/best_order.py): a lower bound
  in order    the fewest loads if requests are served one by one as they come (Belady's rule)
  wait        seconds until an engine had the request: mean and longest of those that waited at all
  kept        the same for the model that is kept awake, 99th percentile of all its requests
  oom         starts that would have found too little memory
  killed      requests that were in flight when their engine was stopped
  unserved    requests without an answer

    python ops/bench/on_demand.py
    python ops/bench/on_demand.py --requests 1000 --turns 20 --json build/on_demand.json
    python ops/bench/on_demand.py --real --load-seconds 1.5 --min-awake 3
    python ops/bench/on_demand.py --real --load-seconds 1.5 --min-awake 3 --first-token 0.2 --only-kept
    python ops/bench/on_demand.py --llama-swap ./llama-swap --load-seconds 1.5 --hosts 1 --gpus 1 \\
        --gpu-memory 180000000000 --kept-share 0
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from packages import install_command

try:
    from demand import llama_swap
    from demand.best_order import fewest_loads, in_order_of_arrival
    from demand.real import running, serve
    from demand.simulation import Outcome, Simulation, SiteSettings
    from demand.trace import KEPT, Request, TraceSettings, generate
    from report import aligned, number
except ImportError as error:
    sys.exit(f"the simulator needs {error.name}: {install_command('bench')}")

GIVE_UP_SECONDS = 3600.0  # after the last request
SHORTEST_WAIT_SECONDS = 0.1  # a shorter one is the router's own time


def figures(requests: Sequence[Request], outcome: Outcome, site: SiteSettings) -> dict[str, float]:
    """Return the figures of a run."""
    waits = sorted(wait for model, times in outcome.waits.items() if model != KEPT for wait in times)
    kept = sorted(outcome.waits[KEPT])
    waited = [wait for wait in waits if wait > SHORTEST_WAIT_SECONDS]
    longest = waits[-1] if waits else 0.0
    wanted = [(request.at * site.load_seconds, request.model) for request in requests if request.model != KEPT]
    places = site.hosts * site.gpus * (site.gpu_memory // site.model_memory) - bool(kept)
    loads = len(outcome.loads)
    best = fewest_loads(wanted, places, longest, site.load_seconds)
    return {
        "requests": len(requests),
        "loads": loads,
        "best": best,
        "ratio": loads / best if best else 1.0,
        "in_order": in_order_of_arrival(wanted, places),
        "waited": len(waited),
        "wait_mean": statistics.fmean(waited or [0.0]),
        "wait_longest": longest,
        "kept_p99": kept[len(kept) * 99 // 100] if kept else 0.0,
        "out_of_memory": outcome.out_of_memory,
        "killed": outcome.killed_requests,
        "unserved": outcome.unserved,
    }


HEAD = ["requests", "loads", "best", "loads/best", "in order", "waited", "wait mean s", "longest", "kept p99 s"]
HEAD += ["oom", "killed", "unserved"]


def row(result: dict[str, float]) -> list[str]:
    digits = {"ratio": 2, "wait_mean": 1, "wait_longest": 1, "kept_p99": 3}
    return [number(value, digits.get(name, 0)) for name, value in result.items()]


def main() -> int:
    options, trace, site = parse_arguments()
    requests = generate(trace)
    models = sorted({request.model for request in requests})
    if options.only_kept:
        requests = [request for request in requests if request.model == KEPT]
    if options.llama_swap:
        with llama_swap.running(options.llama_swap, site, models) as swap:
            outcome = serve(swap, requests, site.load_seconds)
    elif options.real:
        with running(site, models) as sites:
            outcome = serve(sites, requests, site.load_seconds)
    else:
        outcome = Simulation(site, models).run(requests, site.load_seconds, GIVE_UP_SECONDS)
    result = figures(requests, outcome, site)
    print("\n".join(aligned([HEAD, row(result)])))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(result[name] for name in ("out_of_memory", "killed", "unserved")))


def parse_arguments() -> tuple[argparse.Namespace, TraceSettings, SiteSettings]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--real", action="store_true", help="on real sites with mocks, in real time; use a short --load-seconds"
    )
    parser.add_argument(
        "--llama-swap", metavar="PROGRAM", help="on llama-swap with mocks; with --hosts 1 --gpus 1 --kept-share 0"
    )
    parser.add_argument(
        "--only-kept",
        action="store_true",
        help="send only the requests for the model that is kept awake: its time alone",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures; times in seconds")
    _add(parser, "the trace; times in loads", TraceSettings)
    _add(parser, "the site; times in seconds, sizes in bytes", SiteSettings)
    options = parser.parse_args()
    values = vars(options)
    trace = TraceSettings(**{field.name: values[field.name] for field in dataclasses.fields(TraceSettings)})
    site = SiteSettings(**{field.name: values[field.name] for field in dataclasses.fields(SiteSettings)})
    return options, trace, site


def _add(parser: argparse.ArgumentParser, title: str, settings: type) -> None:
    """Add an option for each field of a class of settings."""
    group = parser.add_argument_group(title)
    for field in dataclasses.fields(settings):
        flag = f"--{field.name.replace('_', '-')}"
        group.add_argument(flag, type=type(field.default), default=field.default, help="default: %(default)s")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
