"""Measure routing by the prompt's size on real llama.cpp servers: the case of the original InfiniLM-SVC.

Some engines are registered with `cache_type = "paged"`, which suits many small prompts, the others with "static",
which suits few large ones. Clients with small prompts and clients with large ones run at the same time. With the policy
`auto`, a prompt whose text is larger than `cache_type_threshold` goes to a static engine, and every other prompt to a
paged one, so that small prompts do not wait for large ones. With the other policies, and with `unmarked` (`auto` on
engines without a cache type), every engine gets both. The engines are the same program here: only the routing differs.

The table shows for each policy the milliseconds until the first token, of small and of large prompts.

    python ops/bench/size.py
    python ops/bench/size.py --policies auto,unmarked,least_requests --paged 2 --static 2 --rounds 3
    python ops/bench/size.py --large-bytes 20000 --threshold 10000 --json build/size.json
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packages import install_command

try:
    from real_engines import ask, milliseconds, router_command, running, words
    from report import aligned, number
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench', 'llama')}")

UNMARKED = "unmarked"
SMALL, LARGE = "small", "large"
LLAMA_OPTIONS = ["--threads", "1", "--parallel", "4"]


@dataclass(slots=True)
class Figures:
    """Seconds until the first token, of each prompt."""

    first: dict[str, list[float]] = field(default_factory=lambda: {SMALL: [], LARGE: []})


def run_clients(port: int, options: argparse.Namespace, seed: int, figures: Figures) -> None:
    """Send small and large prompts until every client has sent its number; raise OSError if one fails.

    No prompt has a common beginning with another, so that no cache changes the figures.
    """
    problems: list[OSError] = []

    def client(kind: str, number: int, size: int, prompts: int) -> None:
        generator = random.Random(f"{seed} {kind} {number}")
        try:
            for turn in range(prompts):
                text = f"{seed} {kind} {number} {turn}: {words(generator, size)}"
                figures.first[kind].append(ask(port, [{"role": "user", "content": text}]).first)
        except OSError as problem:
            problems.append(problem)

    shapes = [(SMALL, k, options.small_bytes, options.small_prompts) for k in range(options.small_clients)]
    shapes += [(LARGE, k, options.large_bytes, options.large_prompts) for k in range(options.large_clients)]
    threads = [threading.Thread(target=client, args=shape) for shape in shapes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def row(policy: str, figures: Figures) -> list[str]:
    small, large = figures.first[SMALL], figures.first[LARGE]
    return [policy, number(len(small), 0), *milliseconds(small), number(len(large), 0), *milliseconds(large)]


HEAD = ["policy", "small", "first token mean ms", "p50", "p99", "large", "mean ms", "p50", "p99"]


def main() -> None:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    figures = {policy: Figures() for policy in options.policies}
    for round_number in range(options.rounds):
        for policy in options.policies if round_number % 2 == 0 else options.policies[::-1]:
            began = time.monotonic()
            run_policy(policy, options, round_number, figures[policy])
            seconds = time.monotonic() - began
            print(f"round {round_number + 1}, {policy}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(aligned([HEAD, *(row(policy, measured) for policy, measured in figures.items())])))
    if options.json:
        report = {policy: measured.first for policy, measured in figures.items()}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def run_policy(policy: str, options: argparse.Namespace, seed: int, figures: Figures) -> None:
    metadata: Sequence[dict[str, Any]] = [{"cache_type": "paged"}] * options.paged
    metadata = [*metadata, *[{"cache_type": "static"}] * options.static]
    name = policy
    if policy == UNMARKED:
        name, metadata = "auto", [{}] * len(metadata)
    command = router_command(name, {}, ["--cache-type-threshold", str(options.threshold)])
    # A token has 4 bytes at least; four of the largest prompts have room at an engine.
    llama_options = [*LLAMA_OPTIONS, "--ctx-size", str(4 * (options.large_bytes // 4 + 256))]
    with (
        tempfile.TemporaryDirectory(prefix="size-") as scratch,
        running(command, metadata, llama_options, Path(scratch), options.cache) as port,
    ):
        try:
            run_clients(port, options, seed, figures)
        except OSError as problem:
            sys.exit(f"size.py: {policy}: {problem}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    policies = f"auto,{UNMARKED},round_robin,least_requests"
    add("--policies", type=lambda text: text.split(","), default=policies, help="default: %(default)s")
    add("--rounds", type=int, default=1, help="default: %(default)s")
    add("--paged", type=int, default=1, help="engines for small prompts (default: %(default)s)")
    add("--static", type=int, default=1, help="engines for large prompts (default: %(default)s)")
    add("--small-clients", type=int, default=2, help="default: %(default)s")
    add("--small-prompts", type=int, default=20, help="of each client (default: %(default)s)")
    add("--small-bytes", type=int, default=400, help="of each prompt (default: %(default)s)")
    add("--large-clients", type=int, default=1, help="default: %(default)s")
    add("--large-prompts", type=int, default=5, help="of each client (default: %(default)s)")
    add("--large-bytes", type=int, default=12_000, help="of each prompt (default: %(default)s)")
    add("--threshold", type=int, default=6_000, help="cache_type_threshold in bytes (default: %(default)s)")
    add("--cache", type=Path, default=Path.home() / ".cache" / "router-bench", help="where peers are installed")
    add("--json", type=Path, metavar="FILE", help="write the seconds of every prompt")
    options = parser.parse_args()
    if not options.small_bytes < options.threshold < options.large_bytes:
        parser.error("--threshold: more than --small-bytes and less than --large-bytes")
    for name in ("rounds", "paged", "static", "small_clients", "small_prompts", "large_clients", "large_prompts"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
