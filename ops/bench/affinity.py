"""Measure how well routing policies use the prompt caches of real llama.cpp servers behind the router.

Agents run at the same time. The conversation of each begins with a system prompt that all agents of its application
share (6 KB), goes on with texts of its own, and every turn sends all of it again with new words. An engine that had
the turn before computes only the new words; one that had another agent of the application, all but the system prompt.
The table shows for each policy the share of the prompts' tokens that were cached
(`usage.prompt_tokens_details.cached_tokens`), and the milliseconds until the first token.

`--policies` takes our policies, and as peers smg, sglang-router and vllm-router with their policy `cache_aware`, which
are installed on first use. Every policy gets fresh engines in each round. The policies take turns, and every other
round runs in reverse. `--peer` measures another command, such as an earlier version of ours.

    python ops/bench/affinity.py
    python ops/bench/affinity.py --policies prefix,least_load,smg --rounds 3
    python ops/bench/affinity.py --instances 2 --agents 6 --clients 2 --system-bytes 0
    python ops/bench/affinity.py --policies prefix,before \\
        --peer before='../before/svc router --port {port} --static-services {static} --policy prefix'
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
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packages import install_command

try:
    from real_engines import ANSWER_TOKENS, Answer, ask, milliseconds, router_command, running, words
    from report import aligned, number
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench', 'llama')}")

# One thread for each server, so that several servers behave like several machines.
LLAMA_OPTIONS = ["--threads", "1", "--parallel", "4"]
BYTES_PER_TOKEN = 4  # at least; for the size of the context


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The agents and their prompts; sizes in bytes."""

    agents: int = 8
    clients: int = 8
    turns: int = 5
    applications: int = 1
    system_bytes: int = 6 << 10
    question_bytes: int = 1 << 10
    sends_session: bool = True

    @property
    def context(self) -> int:
        """Tokens that four conversations need at one engine."""
        text = self.system_bytes + self.turns * self.question_bytes
        return 4 * (text // BYTES_PER_TOKEN + self.turns * ANSWER_TOKENS + 256)


@dataclass(slots=True)
class Agent:
    name: str
    application: int
    generator: random.Random
    messages: list[dict[str, str]]
    answers: list[Answer] = field(default_factory=list)

    def send_turn(self, port: int, load: Load) -> None:
        """Send one more turn and record its answer; raise OSError if it fails."""
        question = f"{self.name}: {words(self.generator, load.question_bytes)}"
        self.messages.append({"role": "user", "content": question})
        answer = ask(port, self.messages, {"X-Session-ID": self.name} if load.sends_session else {})
        self.messages.append({"role": "assistant", "content": answer.text})
        self.answers.append(answer)


def make_agents(load: Load, seed: int) -> list[Agent]:
    systems = [words(random.Random(f"{seed} system {k}"), load.system_bytes) for k in range(load.applications)]
    agents = []
    for k in range(load.agents):
        application = k % load.applications
        system = [{"role": "system", "content": systems[application]}] if load.system_bytes else []
        agents.append(Agent(f"agent-{seed}-{k}", application, random.Random(f"{seed} agent {k}"), system))
    return agents


def run_agents(port: int, load: Load, seed: int) -> list[Agent]:
    """Run all agents to the end, `clients` at a time; raise OSError if a turn fails.

    After each turn, a client goes on with an agent drawn at random from those without a request on its way: in a fixed
    order, round robin would give each agent its own engine.
    """
    agents, generator = make_agents(load, seed), random.Random(seed)
    ready, lock, problems = list(agents), threading.Lock(), list[OSError]()

    def client() -> None:
        while not problems:
            with lock:
                if not ready:
                    return  # the agents that are left have a client each
                agent = ready.pop(generator.randrange(len(ready)))
            try:
                agent.send_turn(port, load)
            except OSError as problem:
                problems.append(problem)
                return
            if len(agent.answers) < load.turns:
                with lock:
                    ready.append(agent)

    threads = [threading.Thread(target=client) for _ in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return agents


def row(policy: str, answers: Sequence[Answer]) -> list[str]:
    prompt, cached = sum(answer.prompt for answer in answers), sum(answer.cached for answer in answers)
    times = milliseconds([answer.first for answer in answers])
    return [policy, str(len(answers)), number(prompt, 0), number(cached, 0), f"{cached / prompt:.1%}", *times]


HEAD = ["policy", "turns", "prompt tokens", "cached", "share", "first token mean ms", "p50", "p99"]


def main() -> None:
    options, load = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    peers = dict(peer.split("=", 1) for peer in options.peer)
    llama_options = [*LLAMA_OPTIONS, "--ctx-size", str(load.context)]
    agents: dict[str, list[Agent]] = {policy: [] for policy in options.policies}
    try:
        for round_number in range(options.rounds):
            for policy in options.policies if round_number % 2 == 0 else options.policies[::-1]:
                began, command = time.monotonic(), router_command(policy, peers)
                with tempfile.TemporaryDirectory(prefix="affinity-") as scratch:
                    metadata = [{}] * options.instances
                    with running(command, metadata, llama_options, Path(scratch), options.cache) as port:
                        try:
                            agents[policy] += run_agents(port, load, round_number)
                        except OSError as problem:
                            sys.exit(f"affinity.py: {policy}: {problem}")
                seconds = time.monotonic() - began
                print(f"round {round_number + 1}, {policy}: {seconds:.0f} s", file=sys.stderr, flush=True)
    finally:  # a router that fails costs no figure of the others
        report(agents, options.json)


def report(agents: dict[str, list[Agent]], path: Path | None) -> None:
    """Print the table, and write every turn to a file, if there is one."""
    answers = {policy: [answer for agent in group for answer in agent.answers] for policy, group in agents.items()}
    print("\n".join(aligned([HEAD, *(row(policy, group) for policy, group in answers.items() if group)])))
    if path:
        turns = {
            policy: [
                {"agent": agent.name, "turn": turn, **asdict(answer)}
                for agent in group
                for turn, answer in enumerate(agent.answers, 1)
            ]
            for policy, group in agents.items()
        }
        path.write_text(json.dumps(turns, indent=1) + "\n")


def parse_arguments() -> tuple[argparse.Namespace, Load]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, load = parser.add_argument, Load()
    policies = "round_robin,least_requests,session,prefix,auto"
    add("--policies", type=lambda text: text.split(","), default=policies, help="default: %(default)s")
    add("--peer", action="append", default=[], metavar="NAME=COMMAND", help="see above; NAME is used in --policies")
    add("--rounds", type=int, default=1, help="default: %(default)s")
    add("--instances", type=int, default=3, help="llama.cpp servers (default: %(default)s)")
    add("--agents", type=int, default=load.agents, help="conversations (default: %(default)s)")
    add("--clients", type=int, help="agents that have a request at a time (default: all)")
    add("--turns", type=int, default=load.turns, help="of each conversation (default: %(default)s)")
    add("--applications", type=int, default=load.applications, help="system prompts (default: %(default)s)")
    add("--system-bytes", type=int, default=load.system_bytes, help="of each system prompt (default: %(default)s)")
    add("--question-bytes", type=int, default=load.question_bytes, help="of each turn (default: %(default)s)")
    add("--without-sessions", action="store_true", help="do not send X-Session-ID")
    add("--cache", type=Path, default=Path.home() / ".cache" / "router-bench", help="where peers are installed")
    add("--json", type=Path, metavar="FILE", help="write every turn")
    options = parser.parse_args()
    for name in ("rounds", "instances", "agents", "turns", "applications", "question_bytes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    if any("=" not in peer for peer in options.peer):
        parser.error("--peer: NAME=COMMAND")
    return options, Load(
        agents=options.agents,
        clients=min(options.clients or options.agents, options.agents),
        turns=options.turns,
        applications=options.applications,
        system_bytes=options.system_bytes,
        question_bytes=options.question_bytes,
        sends_session=not options.without_sessions,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
