"""Measure how well each routing policy uses the prompt cache of two llama.cpp servers behind the router.

Each conversation begins with a long history of its own, and every turn sends all of it again with new words.
An instance that had the previous turn reads only the new words. The table shows, for each policy, the share of
the prompts that was cached (`usage.prompt_tokens_details.cached_tokens`) and the time until the first token.

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

from packages import install_command

try:
    from peers import static_services
    from processes import Program, free_port
    from report import aligned, number
except ImportError as error:
    sys.exit(f"the benchmark needs {error.name}: {install_command('bench', 'llama')}")

SVC = str(Path(sys.executable).with_name("svc"))
MODEL = "gemma-3-270m"
FIRST_PROMPT_WORDS, TURN_WORDS, ANSWER_TOKENS = 500, 150, 16
# One thread for each server, so that two servers behave like two machines; each has slots for four conversations.
LLAMA_OPTIONS = ["--alias", MODEL, "--threads", "1", "--ctx-size", "8192", "--parallel", "4"]
VOCABULARY = [
    "river",
    "stone",
    "market",
    "garden",
    "letter",
    "winter",
    "engine",
    "harbour",
    "paper",
    "window",
    "silver",
]


@dataclass(slots=True)
class Turn:
    """One answer: seconds until its first token, and the tokens of its prompt, all and cached."""

    number: int
    first: float
    prompt: int
    cached: int


@dataclass(slots=True)
class Conversation:
    name: str
    generator: random.Random
    messages: list[dict[str, str]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def send_turn(self, port: int) -> None:
        """Send one more turn and record it; raise OSError when it fails."""
        length = TURN_WORDS if self.messages else FIRST_PROMPT_WORDS
        self.messages.append({"role": "user", "content": " ".join(self.generator.choices(VOCABULARY, k=length))})
        sent = time.perf_counter()
        first_token, text = None, ""
        usage: dict[str, Any] = {}
        for event in stream(port, self.name, self.messages):
            first_token = first_token or time.perf_counter() - sent
            text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
            usage = event.get("usage") or usage
        if first_token is None or not usage:
            raise OSError(f"{self.name}: the answer was cut")
        self.messages.append({"role": "assistant", "content": text})
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        self.turns.append(Turn(len(self.turns), first_token, usage["prompt_tokens"], cached))


def stream(port: int, session: str, messages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the events of an answer. Every request carries the session; only some policies read it."""
    payload = {"model": MODEL, "messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0, "stream": True}
    body = json.dumps(payload | {"stream_options": {"include_usage": True}})
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


def run_conversations(port: int, conversations: int, turns: int, clients: int) -> list[Turn]:
    """Send the turns in a random order: in a fixed order, round robin would give each conversation its own instance."""
    generator = random.Random(1)
    running = [Conversation(f"conversation-{number}", random.Random(number)) for number in range(conversations)]
    with ThreadPoolExecutor(clients) as pool:
        for _ in range(turns):
            generator.shuffle(running)
            list(pool.map(lambda conversation: conversation.send_turn(port), running))
    return [turn for conversation in running for turn in conversation.turns]


@contextmanager
def run_router(policy: str, scratch: Path) -> Iterator[int]:
    """Start a router with two instances, and yield its port."""
    with ExitStack() as stack:
        ports = [free_port(), free_port()]
        llamas = [
            start(stack, ["llama", "--port", str(port), *LLAMA_OPTIONS], scratch / f"llama-{port}.log")
            for port in ports
        ]
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
        lines = program.log.read_text(errors="replace").strip().splitlines()
        sys.exit(f"affinity.py: cannot start: {lines[-1] if lines else 'no answer'}")


def row(policy: str, turns: list[Turn]) -> list[str]:
    """Return the row of a policy, from the turns after the first, which no cache can have."""
    later = [turn for turn in turns if turn.number]
    prompt, cached = sum(turn.prompt for turn in later), sum(turn.cached for turn in later)
    first_tokens = [turn.first * 1000 for turn in later]
    times = [number(statistics.median(first_tokens), 0), number(statistics.fmean(first_tokens), 0)]
    return [policy, str(len(later)), number(prompt, 0), number(cached, 0), f"{cached / prompt:.0%}", *times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", default="round_robin,session,prefix", help="default: %(default)s")
    parser.add_argument("--conversations", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=5, help="of each conversation (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=1, help="conversations that send at once (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every turn")
    options = parser.parse_args()
    if options.turns < 2:
        parser.error("--turns: at least 2: no cache has the first one")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs that were started are stopped
    turns_by_policy: dict[str, list[Turn]] = {}
    with tempfile.TemporaryDirectory(prefix="affinity-") as scratch:
        for policy in options.policies.split(","):
            began = time.monotonic()
            with run_router(policy, Path(scratch)) as port:
                try:
                    turns_by_policy[policy] = run_conversations(
                        port, options.conversations, options.turns, options.clients
                    )
                except OSError as problem:
                    sys.exit(f"affinity.py: {policy}: {problem}")
            print(f"{policy}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    head = ["policy", "turns", "prompt tokens", "cached", "share", "first token p50 ms", "mean ms"]
    print("\n".join(aligned([head, *(row(policy, turns) for policy, turns in turns_by_policy.items())])))
    if options.json:
        report = {policy: [asdict(turn) for turn in turns] for policy, turns in turns_by_policy.items()}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
