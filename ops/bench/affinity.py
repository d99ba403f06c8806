"""What a policy is worth to the cache of prompts: conversations through the router to two real llama.cpp servers.

Each conversation begins with a long history of its own, and every turn sends all of it again with something more.
An instance that had the turn before reads only what is new. Shown is how much of the prompts was in the cache
(`usage.prompt_tokens_details.cached_tokens`), and the time until the first token, policy by policy.

    python ops/bench/affinity.py
    python ops/bench/affinity.py --policies round_robin,prefix --conversations 4 --turns 3
"""

import argparse
import http.client
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

try:
    from peers import static_services
    from processes import Program, free_port
    from report import aligned, number
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: pip install 'infinilm-svc[bench,llama]'")

SVC = str(Path(sys.executable).with_name("svc"))
MODEL = "gemma-3-270m"
HISTORY, QUESTION, ANSWER = 500, 150, 16  # words that a conversation begins with, words a turn adds, tokens answered
# One thread each, so that two of them are two machines; four slots hold four conversations each.
LLAMA = ["--alias", MODEL, "--threads", "1", "--ctx-size", "8192", "--parallel", "4"]
WORDS = ("river", "stone", "market", "garden", "letter", "winter", "engine", "harbour", "paper", "window", "silver")


@dataclass(slots=True)
class Turn:
    """One answer: seconds until its first token, the tokens of the prompt, and those of them that were cached."""

    number: int
    first: float
    prompt: int
    cached: int


@dataclass(slots=True)
class Conversation:
    name: str
    words: random.Random
    messages: list[dict[str, str]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def ask(self, port: int) -> None:
        """One more turn; raises OSError when it fails."""
        length = QUESTION if self.messages else HISTORY
        self.messages.append({"role": "user", "content": " ".join(self.words.choices(WORDS, k=length))})
        asked = time.perf_counter()
        first, text = None, ""
        usage: dict[str, Any] = {}
        for event in stream(port, self.name, self.messages):
            first = first or time.perf_counter() - asked
            text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
            usage = event.get("usage") or usage
        if first is None or not usage:
            raise OSError(f"{self.name}: the answer was cut")
        self.messages.append({"role": "assistant", "content": text})
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        self.turns.append(Turn(len(self.turns), first, usage["prompt_tokens"], cached))


def stream(port: int, session: str, messages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The events of an answer. Every policy is sent the session; only some look at it."""
    question = {"model": MODEL, "messages": messages, "max_tokens": ANSWER, "temperature": 0, "stream": True}
    body = json.dumps(question | {"stream_options": {"include_usage": True}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {"Content-Type": "application/json", "X-Session-ID": session}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{session}: status {answer.status}: {answer.read().decode(errors='replace')[:200]}")
        for line in answer:
            if line.startswith(b"data: {"):
                yield json.loads(line[len(b"data: ") :])
    finally:
        connection.close()


def talk(port: int, conversations: int, turns: int, clients: int) -> list[Turn]:
    """Turn by turn, in an order that changes: one that stays would give each its own instance by the round."""
    chance = random.Random(1)
    talks = [Conversation(f"conversation-{number}", random.Random(number)) for number in range(conversations)]
    with ThreadPoolExecutor(clients) as pool:
        for _ in range(turns):
            chance.shuffle(talks)
            list(pool.map(lambda conversation: conversation.ask(port), talks))
    return [turn for conversation in talks for turn in conversation.turns]


@contextmanager
def router(policy: str, scratch: Path) -> Iterator[int]:
    """The port of a router with two instances behind it, all of them fresh."""
    with ExitStack() as stack:
        ports = [free_port(), free_port()]
        llamas = [start(stack, ["llama", "--port", str(port), *LLAMA], scratch / f"llama-{port}.log") for port in ports]
        for llama, port in zip(llamas, ports, strict=True):
            await_answer(llama, port)
        static, port = scratch / "static.json", free_port()
        static.write_text(static_services(ports, MODEL))
        argv = ["router", "--port", str(port), "--policy", policy, "--static-services", str(static)]
        await_answer(start(stack, argv, scratch / "router.log"), port)
        yield port


def start(stack: ExitStack, argv: list[str], log: Path) -> Program:
    program = Program([SVC, *argv], log, cwd=log.parent)
    stack.callback(program.stop)
    return program


def await_answer(program: Program, port: int) -> None:
    if not program.answers(port, MODEL):
        told = program.log.read_text(errors="replace").strip().splitlines()
        sys.exit(f"affinity.py: cannot start: {told[-1] if told else 'no answer'}")


def row(policy: str, turns: list[Turn]) -> list[str]:
    """Of the turns after the first, which no cache can know."""
    later = [turn for turn in turns if turn.number]
    prompt, cached = sum(turn.prompt for turn in later), sum(turn.cached for turn in later)
    first = [turn.first * 1000 for turn in later]
    times = [number(statistics.median(first), 0), number(statistics.fmean(first), 0)]
    return [policy, str(len(later)), number(prompt, 0), number(cached, 0), f"{cached / prompt:.0%}", *times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", default="round_robin,session,prefix", help="default: %(default)s")
    parser.add_argument("--conversations", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=5, help="of each conversation (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=1, help="conversations that ask at once (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every turn")
    options = parser.parse_args()
    if options.turns < 2:
        parser.error("--turns: at least 2: the first one is in nobody's cache")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is stopped
    found: dict[str, list[Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="affinity-") as scratch:
        for policy in options.policies.split(","):
            begun = time.monotonic()
            with router(policy, Path(scratch)) as port:
                try:
                    found[policy] = talk(port, options.conversations, options.turns, options.clients)
                except OSError as problem:
                    sys.exit(f"affinity.py: {policy}: {problem}")
            print(f"{policy}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    head = ["policy", "turns", "prompt tokens", "cached", "share", "first token p50 ms", "mean ms"]
    print("\n".join(aligned([head, *(row(policy, turns) for policy, turns in found.items())])))
    if options.json:
        told = {policy: [asdict(turn) for turn in turns] for policy, turns in found.items()}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
