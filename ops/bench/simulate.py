"""Compare routing policies on simulated engines with a KV cache, for fleets that no machine here can run.

The policies are the router's own code. The engines are simulated (see simulation/engine.py): each has a queue,
prefills one prompt at a time, decodes the others in one batch, and keeps the blocks of prompts and answers until it
needs their room. The trace has conversations of agents: each begins with the system prompt of its application
(6 KB), most are short and a few very long, and after each answer a tool runs or a user thinks. Every policy gets the
same trace, and the same seed gives the same figures.

The table shows for each policy
  cached      the share of the prompts' tokens that were in the cache
  first       milliseconds until the first token: mean, median and 99th percentile
  load        requests in flight at the busiest engine, divided by the mean of all engines
  prefill     the same for the tokens that were not in the cache
  busy        the share of the time in which an engine prefills, on average
`omniscient` is no policy of the router: it knows every cache and queue, and chooses the earliest first token.

    python ops/bench/simulate.py
    python ops/bench/simulate.py --policies auto_prefix,prefix --requests 10000
    python ops/bench/simulate.py --instances 8 --rate 12 --sessions 1 --json build/simulation.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packages import install_command

try:
    from report import aligned, number
    from simulation.choosers import AUTO_PREFIX, OMNISCIENT
    from simulation.engine import EngineSettings
    from simulation.run import Outcome, Run
    from simulation.trace import Conversation, TraceSettings, generate

    from svc.router.balance.policies import POLICIES
except ImportError as error:
    sys.exit(f"the simulator needs {error.name}: {install_command('bench')}")


def simulate(
    policy: str,
    conversations: Sequence[Conversation],
    options: argparse.Namespace,
    engine: EngineSettings,
    trace: TraceSettings,
) -> Outcome:
    """Run the trace with one policy and report the progress."""
    run = Run(policy, conversations, options.instances, engine, trace, options.load_interval, options.routers)
    began = time.process_time()
    print(f"{policy}:", end="", file=sys.stderr, flush=True)
    for tenth in run.tenths():
        print(f" {tenth * 10}", end="", file=sys.stderr, flush=True)
    print(f" %, {time.process_time() - began:.0f} s of CPU time", file=sys.stderr, flush=True)
    return run.outcome


def figures(outcome: Outcome, prefill_rate: float) -> dict[str, float]:
    first = sorted(outcome.first_tokens)
    return {
        "requests": len(first),
        "prompt_tokens": outcome.prompt_tokens,
        "cached_tokens": outcome.cached_tokens,
        "cached": outcome.cached_tokens / outcome.prompt_tokens,
        "first_mean": statistics.fmean(first),
        "first_p50": first[len(first) // 2],
        "first_p99": first[len(first) * 99 // 100],
        "load": imbalance(outcome.load),
        "in_flight": sum(outcome.load) / outcome.seconds,
        "prefill": imbalance(outcome.prefilled),
        "busy": statistics.fmean(outcome.prefilled) / prefill_rate / outcome.seconds,
        "evicted_blocks": outcome.evicted_blocks,
        "seconds": outcome.seconds,
    }


def imbalance(values: Sequence[float]) -> float:
    return max(values) / statistics.fmean(values)


def row(policy: str, figures: dict[str, float]) -> list[str]:
    times = [number(figures[key] * 1000, 0) for key in ("first_mean", "first_p50", "first_p99")]
    balance = [number(figures[key], 2) for key in ("load", "prefill")]
    return [
        policy,
        number(figures["cached_tokens"], 0),
        f"{figures['cached']:.1%}",
        *times,
        *balance,
        f"{figures['busy']:.0%}",
    ]


HEAD = ["policy", "cached tokens", "share", "first mean ms", "p50", "p99", "load max/mean", "prefill max/mean", "busy"]


def main() -> None:
    options, engine, trace = parse_arguments()
    conversations = generate(trace)
    turns = sorted(len(conversation.turns) for conversation in conversations)
    print(
        f"{trace.requests:,} requests in {len(turns):,} conversations of {turns[len(turns) // 2]} turns (median) "
        f"to {turns[-1]}; {options.instances} engines",
        file=sys.stderr,
        flush=True,
    )
    results: dict[str, dict[str, float]] = {}
    for policy in options.policies:
        results[policy] = figures(simulate(policy, conversations, options, engine, trace), engine.prefill_rate)
    print("\n".join(aligned([HEAD, *(row(policy, result) for policy, result in results.items())])))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def parse_arguments() -> tuple[Any, EngineSettings, TraceSettings]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*POLICIES, AUTO_PREFIX, OMNISCIENT]

    def policies(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown policy {unknown[0]!r}; there are {', '.join(known)}")
        return names

    parser.add_argument("--policies", type=policies, default=known, help="separated by commas (default: all)")
    parser.add_argument("--instances", type=int, default=50, help="engines (default: %(default)s)")
    parser.add_argument(
        "--routers",
        type=int,
        default=1,
        help="that share the engines without communicating; each request goes to one at random (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures; times in seconds")
    shape, speed = TraceSettings(), EngineSettings()
    add = parser.add_argument_group("the trace").add_argument
    add("--requests", type=int, default=shape.requests, help="of all conversations (default: %(default)s)")
    add("--rate", type=float, default=shape.rate, help="requests a second (default: %(default)s)")
    add("--applications", type=int, default=shape.applications, help="system prompts (default: %(default)s)")
    add("--system-tokens", type=int, default=shape.system_tokens, help="of each system prompt (default: %(default)s)")
    add("--max-turns", type=int, default=shape.max_turns, help="of a conversation (default: %(default)s)")
    add(
        "--sessions",
        type=float,
        default=shape.sessions,
        help="share of the conversations whose client sends a session identifier (default: %(default)s)",
    )
    add("--seed", type=int, default=shape.seed, help="default: %(default)s")
    add = parser.add_argument_group("the engines").add_argument
    add("--blocks", type=int, default=speed.blocks, help="of 16 tokens in each KV cache (default: %(default)s)")
    add("--prefill-rate", type=float, default=speed.prefill_rate, help="tokens a second (default: %(default)s)")
    add(
        "--load-interval",
        type=float,
        default=2.0,
        help="seconds between two reports of their loads; 0: they report nothing (default: %(default)s)",
    )
    add("--max-running", type=int, default=speed.max_running, help="requests in a batch (default: %(default)s)")
    options = parser.parse_args()
    for name in ("instances", "routers", "requests", "rate", "applications", "blocks", "prefill_rate", "max_running"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name.replace('_', '-')}: more than 0")
    engine = EngineSettings(blocks=options.blocks, prefill_rate=options.prefill_rate, max_running=options.max_running)
    trace = TraceSettings(
        requests=options.requests,
        rate=options.rate,
        applications=options.applications,
        system_tokens=options.system_tokens,
        max_turns=options.max_turns,
        sessions=options.sessions,
        seed=options.seed,
    )
    longest = (trace.max_context + trace.system_tokens) // engine.block_tokens + 700
    if engine.blocks < longest:
        parser.error(f"--blocks: at least {longest}, so that the longest conversation fits")
    return options, engine, trace


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
