"""Answers of real llama.cpp servers that are killed in the middle: the official clients notice only a pause.

Each test prints the share of the answers that are equal to the uninterrupted ones, at temperature 0. It is about half,
as it is without a router: an engine that reads the beginning of its own answer as a prompt rounds differently from one
that has generated it, and this small model often finds two words almost equally likely.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.client_libraries import anthropic, openai
from tests.e2e.llamas import MODEL, await_proofs, needs_llama, start_llamas
from tests.e2e.sites import Site, http
from tests.waiting import wait_until

pytestmark = [needs_llama, pytest.mark.long]

CLIENTS = Path(__file__).parent / "clients"
TOKENS = 80
BEGUN = 8  # pieces of text that a client has before the server is killed
SLOTS = 12
TOPICS = ("a fox", "the sea", "a train in winter", "an old clock")
NEVER = "unsaid"  # a stop text, because llama.cpp uses its own without one
LIMITS = {"max_tokens": TOKENS, "temperature": 0}


@dataclass
class Answer:
    """An answer as a client has it, and what the access log says of it."""

    text: str
    finish: str
    tokens: int
    ids: Sequence[str]
    resumed: int = 0


Send = Callable[["Request"], Answer]


@dataclass
class Request:
    """A request of one client. `begun` is set when BEGUN pieces of its answer are there."""

    send: Send
    prompt: str
    router: str
    id: str
    begun: threading.Event = field(default_factory=threading.Event)
    pieces: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Request-ID": self.id}

    def count_piece(self) -> None:
        self.pieces += 1
        if self.pieces == BEGUN:
            self.begun.set()


def chat_body(prompt: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": MODEL, "messages": messages, "stop": [NEVER], "stream_options": {"include_usage": True}, **LIMITS}


def openai_chat(request: Request) -> Answer:
    ids = {}
    with (
        openai.OpenAI(base_url=f"{request.router}/v1", api_key="none", max_retries=0, timeout=120) as client,
        client.chat.completions.stream(**chat_body(request.prompt), extra_headers=request.headers) as stream,
    ):
        for event in stream:
            if event.type == "chunk":
                ids[event.chunk.id] = None
            elif event.type == "content.delta":
                request.count_piece()
        whole = (
            stream.current_completion_snapshot
        )  # get_final_completion raises an error for the finish reason "length"
    choice = whole.choices[0]
    return Answer(choice.message.content, choice.finish_reason, whole.usage.completion_tokens, list(ids))


def openai_completion(request: Request) -> Answer:
    text, finish, tokens, ids = "", "", 0, {}
    with openai.OpenAI(base_url=f"{request.router}/v1", api_key="none", max_retries=0, timeout=120) as client:
        for chunk in client.completions.create(
            model=MODEL,
            prompt=f"{request.prompt}\n",
            stop=[NEVER],
            stream=True,
            stream_options={"include_usage": True},
            extra_headers=request.headers,
            **LIMITS,
        ):
            ids[chunk.id] = None
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                text, finish = text + choice.text, choice.finish_reason or finish
                request.count_piece()
    return Answer(text, finish, tokens, list(ids))


def anthropic_message(request: Request) -> Answer:
    with (
        anthropic.Anthropic(base_url=request.router, api_key="none", max_retries=0, timeout=120) as client,
        client.messages.stream(
            model=MODEL,
            messages=[{"role": "user", "content": request.prompt}],
            stop_sequences=[NEVER],
            max_tokens=TOKENS,
            extra_body={"temperature": 0},
            extra_headers=request.headers,
        ) as stream,
    ):
        for _ in stream.text_stream:
            request.count_piece()
        whole = stream.get_final_message()
    (block,) = whole.content
    finish = {"max_tokens": "length", "end_turn": "stop"}[whole.stop_reason]
    return Answer(block.text, finish, whole.usage.output_tokens, [whole.id])


def npm_chat(request: Request, place: Path) -> Answer:
    more = {
        "ROUTER_URL": request.router,
        "REQUEST": json.dumps(chat_body(request.prompt)),
        "REQUEST_ID": request.id,
        "BEGUN": str(BEGUN),
    }
    with subprocess.Popen(
        ["node", "resumed.mjs"], cwd=place, env=os.environ | more, text=True, stdout=subprocess.PIPE
    ) as node:
        for line in node.stdout:
            if line == "begun\n":
                request.begun.set()
            else:
                return Answer(**json.loads(line))
    raise AssertionError(f"the npm client failed: {node.returncode}")


@pytest.fixture(scope="module")
def llamas() -> Iterator[Site]:
    """Yield a site with two real models, whose proofs that they continue answers are registered."""
    site = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")), 'access_log = "logs/access.log"\n')
    try:
        start_llamas(site, SLOTS, ["restart_delay = 0"])
        await_proofs(site)
        yield site
    finally:
        site.end()


def answers(site: Site, requests: Sequence[Request], kills: bool = False) -> list[Answer]:
    """Return the answers to requests that are sent at once; kill the server of the first in the middle of all."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(request.send, request) for request in requests]
        for request, future in zip(requests, futures, strict=True):
            wait_until(partial(has_begun, request, future), timeout=120, description="an answer to begin")
        if kills:
            os.kill(site.pid(serving_program(site)), signal.SIGKILL)
        found = [future.result(timeout=300) for future in futures]
    lines = wait_until(lambda: logged(site, {request.id for request in requests}), description="the access log")
    for request, answer in zip(requests, found, strict=True):
        answer.resumed = lines[request.id].get("resumed", 0)
        check(answer)
    if kills:
        await_proofs(site)
    return found


def has_begun(request: Request, future: Future[Answer]) -> bool:
    return request.begun.is_set() or future.done()


def serving_program(site: Site) -> str:
    """Return the program of the instance with the most requests in flight."""
    services = http.get(f"{site.router}/services", timeout=5).json()["services"]
    busiest = max(services, key=lambda service: service["in_flight"])
    return busiest["name"].removesuffix("-server") + ":server"


def logged(site: Site, ids: set[str]) -> dict[str, dict[str, Any]] | None:
    """Return the lines of the access log by the ids of their requests; None until all are there."""
    log = site.root / "logs" / "access.log"  # created with its first line
    lines = map(json.loads, log.read_text().splitlines() if log.exists() else ())
    found = {line["id"]: line for line in lines if line["id"] in ids}
    return found if found.keys() == ids else None


def check(answer: Answer) -> None:
    assert len(answer.ids) == 1, answer
    assert answer.finish in ("length", "stop")
    assert answer.text.strip()
    if answer.finish == "length":
        assert answer.tokens == TOKENS, answer


def run_rounds(site: Site, senders: Sequence[Send], name: str) -> int:
    """Kill servers under single answers, and under many at once; return how many single ones equal uninterrupted ones.

    The many are not compared, because an engine rounds differently if other requests are in its batch.
    """

    def requests(purpose: str) -> list[Request]:
        return [
            Request(send, f"Tell me a long story about {topic}.", site.router, f"{name}-{purpose}-{number}-{place}")
            for number, topic in enumerate(TOPICS)
            for place, send in enumerate(senders)
        ]

    whole = [answers(site, [request])[0] for request in requests("whole")]
    resumed = [answers(site, [request], kills=True)[0] for request in requests("alone")]
    pairs = [(first, second) for first, second in zip(whole, resumed, strict=True) if second.resumed]
    equal = sum(first.text == second.text for first, second in pairs)
    together = sum(answer.resumed for answer in answers(site, requests("together"), kills=True))
    print(
        f"\n{name}: {equal} of {len(pairs)} resumed answers equal the uninterrupted ones; "
        f"{together} of {len(whole)} were resumed when all ran at once"
    )
    assert len(pairs) == len(whole)
    assert together >= 1
    return equal


@pytest.mark.timeout(900)
def test_the_python_clients_get_whole_answers(llamas):
    assert run_rounds(llamas, [openai_chat, openai_completion, anthropic_message], "python") >= 1


@pytest.mark.timeout(900)
def test_the_npm_client_gets_whole_answers(llamas, tmp_path):
    if not shutil.which("npm") or not shutil.which("node"):
        reason = "node and npm are not installed (Debian: apt install nodejs npm)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    place = shutil.copytree(CLIENTS, tmp_path / "clients", ignore=shutil.ignore_patterns("node_modules"))
    install = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"]
    subprocess.run(install, cwd=place, check=True, timeout=150, stdout=subprocess.DEVNULL)
    run_rounds(llamas, [lambda request: npm_chat(request, place)], "npm")
