"""Real llama.cpp servers behind a router, and the agents that talk to them: for affinity.py and size.py."""

import contextlib
import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import MissingError, Target, by_command, rust
from processes import Program, free_port

SVC = str(Path(sys.executable).with_name("svc"))
MODEL = "gemma-3-270m"
ANSWER_TOKENS = 16
ANSWER_TIMEOUT_SECONDS = 300
LOAD_TIMEOUT_SECONDS = 300  # until an engine has loaded the model, on a busy machine
# Routers whose cache-aware policy is measured beside ours, by the name of the router.
CACHE_AWARE_PEERS = {
    "smg": rust("smg", "launch", policy="cache_aware"),
    "sglang-router": rust("sglang-router", "launch", policy="cache_aware"),
    "vllm-router": rust("vllm-router", policy="cache_aware"),
}
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

RouterCommand = Callable[[Target], list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds until the first token, the tokens of the prompt, all and cached, and the text."""

    first: float
    prompt: int
    cached: int
    text: str


def ask(port: int, messages: Sequence[dict[str, str]], headers: dict[str, str] | None = None) -> Answer:
    """Send one request and read its stream; raise OSError if the answer is not complete."""
    payload = {"model": MODEL, "messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0, "stream": True}
    body = json.dumps(payload | {"stream_options": {"include_usage": True}})
    sent = time.perf_counter()
    first: float | None = None
    text, usage = "", dict[str, Any]()
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_SECONDS)
    ) as connection:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"} | (headers or {}))
        response = connection.getresponse()
        if response.status != 200:
            reason = response.read().decode(errors="replace")[:200]
            raise OSError(f"status {response.status}: {reason}")
        for line in response:
            if line.startswith(b"data: {"):
                event = json.loads(line[len(b"data: ") :])
                content = "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
                if content and first is None:
                    first = time.perf_counter() - sent
                text += content
                usage = event.get("usage") or usage
    if first is None or not usage:
        raise OSError("the answer was cut")
    return Answer(first, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], text)


def router_command(name: str, peers: dict[str, str], options: Sequence[str] = ()) -> RouterCommand:
    """Return the command of a router: a peer of the command line, a known peer, or ours with the policy `name`."""
    if name in peers:
        return by_command(peers[name])
    if name in CACHE_AWARE_PEERS:
        return CACHE_AWARE_PEERS[name]
    return lambda target: [
        *(SVC, "router", "--port", str(target.port), "--policy", name),
        *("--static-services", target.static(), *options),
    ]


@contextmanager
def running(
    command: RouterCommand, metadata: Sequence[dict[str, Any]], llama_options: Sequence[str], scratch: Path, cache: Path
) -> Iterator[int]:
    """Start an engine for each metadata, and the router; yield the router's port. Exit with the reason if one fails."""
    with ExitStack() as stack:
        ports = [free_port() for _ in metadata]
        llama = [SVC, "llama", "--alias", MODEL, *llama_options]
        engines = [_start(stack, [*llama, "--port", str(port)], scratch / f"{port}.log") for port in ports]
        for engine, port in zip(engines, ports, strict=True):
            _await_answer(engine, port)
        services = [
            {
                "name": f"engine{number}",
                "host": "127.0.0.1",
                "port": port,
                "metadata": {"type": "openai-api", "models": [MODEL], **fields},
            }
            for number, (port, fields) in enumerate(zip(ports, metadata, strict=True), 1)
        ]
        target = Target(free_port(), ports, scratch, cache, json.dumps({"services": services}))
        try:
            router = _start(stack, command(target), scratch / "router.log")
        except (MissingError, OSError) as problem:
            sys.exit(f"{Path(sys.argv[0]).name}: {problem}")
        _await_answer(router, target.port)
        yield target.port


def _start(stack: ExitStack, argv: list[str], log: Path) -> Program:
    program = Program(argv, log, cwd=log.parent)
    stack.callback(program.stop)
    return program


def _await_answer(program: Program, port: int) -> None:
    if not program.wait_until_ready(port, MODEL, LOAD_TIMEOUT_SECONDS):
        lines = program.log.read_text(errors="replace").strip().splitlines()
        sys.exit(f"{Path(sys.argv[0]).name}: cannot start: {lines[-1] if lines else 'no answer'}")


def words(generator: Any, size: int) -> str:
    """Return a text of about `size` bytes."""
    text = " ".join(generator.choices(VOCABULARY, k=size // 5 + 1))
    return text[:size]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values: Sequence[float]) -> list[str]:
    """Return mean, median and 99th percentile of seconds, as cells of a table."""
    figures = (statistics.fmean(values), statistics.median(values), percentile(values, 0.99))
    return [f"{figure * 1000:,.0f}" for figure in figures]
