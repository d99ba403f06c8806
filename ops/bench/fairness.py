"""Measure fair shares of waiting requests: what a flood of one key costs the others, and who gets how many tokens.

The router runs with keys, in front of mocks or of engines that run already (--urls). Each instance has so many places
(--places). The scenarios:
  alone       the key `chat` sends a short request at each interval; no other key sends anything
  fcfs        the same, while a flood of long streams comes from the same key: first come, first served
  fair        the same, while the flood comes from another key
  equal       five keys flood the router for some seconds
  1:2:4       three keys with these shares do
  batch       `chat` again, until a batch of priority -20 is answered, which keeps all places busy that it may have

The table shows the milliseconds until the first token of the requests of `chat`, how they compare with `alone`, the
tokens per second of all, and Jain's index of the tokens of the keys by their shares (1: each has its share).

    python ops/bench/fairness.py
    python ops/bench/fairness.py --flood 200 --requests 30 --seconds 20 --json build/fairness.json
    python ops/bench/fairness.py --urls http://gpu1:8100,http://gpu2:8100 --places 16
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from processes import Program, free_port
from report import aligned, number

SVC = str(Path(sys.executable).with_name("svc"))
KEYS = {"chat": "", "batch": ", priority = -20", "flood": ""}
KEYS |= {f"equal{number}": "" for number in range(5)} | {f"share{share}": f", share = {share}" for share in (1, 2, 4)}
READY_TIMEOUT_SECONDS = 30.0
ANSWER_TIMEOUT_SECONDS = 600.0
PROMPT = "Tell a story about a river and a stone."
HEAD = ["scenario", "requests", "first token p50 ms", "p95 ms", "/alone", "tokens/s", "Jain"]


@dataclass(slots=True)
class Outcome:
    """What a scenario has shown. `first`: seconds until the first token; `tokens`: completion tokens of each key."""

    first: list[float] = field(default_factory=list)
    answered: int = 0  # requests of the batch
    tokens: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def p95(self) -> float:
        return sorted(self.first)[int(0.95 * (len(self.first) - 1) + 0.999)] if self.first else 0.0

    def jain(self) -> float | None:
        """Return Jain's index of the tokens of the keys that flood, divided by their shares."""
        values = [count / int(key[5:]) if key.startswith("share") else count for key, count in self.tokens.items()]
        if len(values) < 3:
            return None
        return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


class Callers:
    """The clients of one scenario."""

    def __init__(self, port: int, model: str, options: argparse.Namespace) -> None:
        self.outcome = Outcome()
        self._port, self._model, self._options = port, model, options
        self._draw = random.Random(1)

    async def ask(self, key: str, max_tokens: int) -> float:
        """Send one request and read its stream; return the seconds until its first token."""
        body = json.dumps(
            {
                "model": self._model,
                "messages": [{"role": "user", "content": f"{self._draw.random()} {PROMPT}"}],
                "max_tokens": max_tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        sent, first = time.perf_counter(), 0.0
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + body)
            status = await reader.readline()
            if b" 200 " not in status:
                raise OSError(f"the router answered {status.decode().strip()}: {(await reader.read())[-200:]!r}")
            async for line in reader:
                if line.startswith(b"data: {"):
                    event = json.loads(line[len(b"data: ") :])
                    if not first and any(choice["delta"].get("content") for choice in event.get("choices", [])):
                        first = time.perf_counter() - sent
                    if usage := event.get("usage"):
                        self.outcome.tokens[key] = self.outcome.tokens.get(key, 0) + usage["completion_tokens"]
        finally:
            writer.close()
        return first

    async def chat(self, count: int | None = None) -> None:
        """Send so many short requests at regular intervals; None: until it is cancelled."""
        for _ in itertools.count() if count is None else range(count):
            began = time.perf_counter()
            self.outcome.first.append(await self.ask("chat", self._options.short))
            await asyncio.sleep(max(0.0, self._options.interval - (time.perf_counter() - began)))

    def _long(self) -> int:
        return self._draw.randint(self._options.long // 2, self._options.long * 3 // 2)

    async def flood(self, key: str) -> None:
        """Keep so many long streams in flight, until it is cancelled."""

        async def send_on() -> None:
            while True:
                await self.ask(key, self._long())

        await asyncio.gather(*(send_on() for _ in range(self._options.flood)))

    async def batch(self) -> None:
        """Send the whole batch, at most as many requests at once as a flood, and read every answer."""
        at_once = asyncio.Semaphore(self._options.flood)

        async def send() -> None:
            async with at_once:
                await self.ask("batch", self._long())
                self.outcome.answered += 1

        await asyncio.gather(*(send() for _ in range(self._options.batch)))


async def run_scenario(name: str, callers: Callers, options: argparse.Namespace) -> Outcome:
    keys = {
        "alone": [],
        "fcfs": ["chat"],
        "fair": ["flood"],
        "equal": [key for key in KEYS if key.startswith("equal")],
        "1:2:4": [key for key in KEYS if key.startswith("share")],
        "batch": [],
    }[name]
    floods = [asyncio.create_task(callers.flood(key)) for key in keys]
    if name == "batch":
        floods.append(asyncio.create_task(callers.chat()))
        work = callers.batch()
    elif len(keys) > 1:
        work = asyncio.sleep(options.seconds)
    else:
        work = callers.chat(options.requests)
    await asyncio.sleep(options.warm_up if keys else 0)
    callers.outcome.tokens.clear()
    began = time.perf_counter()
    main = asyncio.create_task(work)
    done, _ = await asyncio.wait([main, *floods], return_when=asyncio.FIRST_COMPLETED, timeout=ANSWER_TIMEOUT_SECONDS)
    callers.outcome.seconds = time.perf_counter() - began
    for task in (main, *floods):
        task.cancel()
    for task in done:
        task.result()  # raises what a client has raised
    await asyncio.gather(main, *floods, return_exceptions=True)
    return callers.outcome


@contextmanager
def running(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[int, str]]:
    """Start the mocks, if no engines are given, and the router; yield its port and the model."""
    with ExitStack() as stack:
        model, urls = options.model, options.urls
        if not urls:
            for number_of_mock in range(options.mocks):
                port = free_port()
                mock = [SVC, "mock", "--name", f"mock{number_of_mock}", "--port", str(port), "--models", model]
                mock += ["--first-token-delay", str(options.first_token_delay)]
                mock += ["--token-delay", str(options.token_delay), "--tokens", "100000"]
                program = Program(mock, scratch / f"mock{number_of_mock}.log")
                stack.callback(program.stop)
                wait_for(f"http://127.0.0.1:{port}/health", program)
                urls = [*urls, f"http://127.0.0.1:{port}"]
        places = [urlsplit(url) for url in urls]
        services = [
            {
                "name": f"engine{index}",
                "host": place.hostname,
                "port": place.port or 80,
                "metadata": {"type": "openai-api", "models": [model], "max_concurrency": options.places},
            }
            for index, place in enumerate(places, 1)
        ]
        (scratch / "static.json").write_text(json.dumps({"services": services}))
        keys = scratch / "keys.toml"
        keys.write_text("[keys]\n" + "".join(entry(name, policy) for name, policy in KEYS.items()))
        keys.chmod(0o600)
        port = free_port()
        command = [SVC, "router", "--port", str(port), "--static-services", str(scratch / "static.json")]
        command += ["--keys-file", str(keys), "--queue-size", "10000", "--queue-timeout", "600"]
        router = Program([*command, "--workers", str(options.workers)], scratch / "router.log")
        stack.callback(router.stop)
        wait_for(f"http://127.0.0.1:{port}/readyz", router)
        yield port, model


def entry(name: str, policy: str) -> str:
    """Return a line of the file of keys; the key's secret is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f'{name} = {{ sha256 = "{digest}", created = 2026-01-01T00:00:00Z{policy} }}\n'


def wait_for(url: str, program: Program) -> None:
    """Wait until the URL answers; exit with the program's last line if it does not."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while program.is_alive and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    lines = program.log.read_text(errors="replace").strip().splitlines()
    sys.exit(f"fairness.py: cannot start: {lines[-1] if lines else 'no answer'}")


def row(name: str, outcome: Outcome, alone: Outcome | None) -> list[str]:
    first, total = sorted(outcome.first), sum(outcome.tokens.values())
    ratio = outcome.p95() / alone.p95() if first and alone is not None and alone.first else None
    return [
        name,
        number(len(first), 0),
        number(first[len(first) // 2] * 1000 if first else None, 0),
        number(outcome.p95() * 1000 if first else None, 0),
        number(ratio, 2),
        number(total / outcome.seconds, 0),
        number(outcome.jain(), 3),
    ]


def main() -> None:
    options = parse_arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    outcomes: dict[str, Outcome] = {}
    for name in options.scenarios:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="fairness-") as scratch,
            running(options, Path(scratch)) as (port, model),
        ):
            try:
                outcomes[name] = asyncio.run(run_scenario(name, Callers(port, model, options), options))
            except OSError as error:
                sys.exit(f"fairness.py: {name}: {error}")
    print("\n".join(aligned([HEAD, *(row(name, each, outcomes.get("alone")) for name, each in outcomes.items())])))
    if "batch" in outcomes:
        print(f"{outcomes['batch'].answered} requests of the batch were answered in {outcomes['batch'].seconds:.0f} s")
    if options.json:
        report = {name: {**asdict(each), "jain": each.jain()} for name, each in outcomes.items()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    scenarios = ["alone", "fcfs", "fair", "equal", "1:2:4", "batch"]
    add("--scenarios", type=names, default=scenarios, metavar="A,B", help=f"of {','.join(scenarios)}; default: all")
    add("--urls", type=names, default=[], metavar="URL,URL", help="engines that run already; default: mocks")
    add("--model", default="mock", help="the engines' model (default: %(default)s)")
    add("--mocks", type=int, default=2, help="default: %(default)s")
    add("--places", type=int, default=16, help="max_concurrency of each instance (default: %(default)s)")
    add("--workers", type=int, default=1, help="processes of the router that relay (default: %(default)s)")
    add("--first-token-delay", type=float, default=0.4, help="of the mocks, in seconds (default: %(default)s)")
    add("--token-delay", type=float, default=0.02, help="of the mocks, in seconds (default: %(default)s)")
    add("--requests", type=int, default=20, help="of `chat` in each scenario (default: %(default)s)")
    add("--interval", type=float, default=1.0, help="seconds between them (default: %(default)s)")
    add("--short", type=int, default=8, help="tokens of their answers (default: %(default)s)")
    add("--flood", type=int, default=200, help="streams that each key that floods keeps open (default: %(default)s)")
    add("--long", type=int, default=50, help="tokens of their answers, on average (default: %(default)s)")
    add("--batch", type=int, default=1000, help="requests of `batch` (default: %(default)s)")
    add("--warm-up", type=float, default=3.0, help="seconds of flood before the measurement (default: %(default)s)")
    add("--seconds", type=float, default=15.0, help="of `equal` and `1:2:4` (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(scenarios):
        parser.error(f"--scenarios: no scenario {', '.join(sorted(unknown))}; choose from {','.join(scenarios)}")
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
