"""Accounts that send streams to an engine with few places, and what each of them gets."""

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import requests

from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, Script
from tests.integration.router.routers import Router, router, service, static

PROMPT_TOKENS = 10
FIRST_EVENT = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'


class Served(NamedTuple):
    """One answered request: seconds until its first token, and its tokens."""

    first: float
    tokens: int


def send_answer(peer: Peer, received: ReceivedRequest) -> None:
    """Send a whole stream, whose usage has the number of tokens in the request."""
    peer.send(CHUNKED + chunk(FIRST_EVENT) + last_chunks(json.loads(received.body)["max_tokens"]))


def last_chunks(tokens: int) -> bytes:
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens}})
    return chunk(b"data: %b\n\ndata: [DONE]\n\n" % usage.encode()) + b"0\r\n\r\n"


class TimedEngine:
    """Answers with a stream of two events; the request says when each of them comes."""

    def __init__(self) -> None:
        self._worked: list[tuple[float, float]] = []  # when it began and ended to work on each request

    def __call__(self, peer: Peer, received: ReceivedRequest) -> None:
        began = time.monotonic()
        order, pause = json.loads(received.body), threading.Event()
        pause.wait(order["first"])
        peer.send(CHUNKED + chunk(FIRST_EVENT))
        pause.wait(order["rest"])
        self._worked.append((began, time.monotonic()))
        peer.send(last_chunks(order["max_tokens"]))

    def mean_load(self, since: float, until: float) -> float:
        """Return how many requests it worked on in this time, on average."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in self._worked) / (until - since)


def body(tokens: int, first: float = 0, rest: float = 0) -> dict[str, Any]:
    """Return a request for so many tokens: the first after `first` seconds, the last `rest` seconds later."""
    return {"model": "m", "stream": True, "max_tokens": tokens, "first": first, "rest": rest}


class Site:
    """A router with keys, in front of one engine."""

    def __init__(self, own: Router) -> None:
        self.router = own

    def ask(self, client: Client, key: str, request: dict[str, Any]) -> Served:
        """Send one request and read its answer, which must be whole."""
        sent = time.monotonic()
        client.send(post({**request, "key": key}, b"Authorization: Bearer " + key.encode()))
        status, _, _ = client.head()
        assert status == 200, client.rest
        events = client.chunk()
        first = time.monotonic() - sent
        events += b"".join(iter(client.chunk, b""))
        assert events.endswith(b"data: [DONE]\n\n")
        return Served(first, PROMPT_TOKENS + request["max_tokens"])

    def one_by_one(self, key: str, orders: Sequence[dict[str, Any]]) -> list[Served]:
        with self.router.client() as client:
            client.sock.settimeout(60)
            return [self.ask(client, key, request) for request in orders]

    def begin(self, key: str, orders: Sequence[Sequence[dict[str, Any]]]) -> "Load":
        """Begin to send requests on as many connections, on each of them one after the other."""
        return Load(self, key, orders)

    def waiting(self) -> int:
        """Return how many requests wait; the key `chat` may ask."""
        answer = requests.get(self.router.url + "/stats", headers={"Authorization": "Bearer chat"}, timeout=10)
        return int(answer.json()["waiting"])


class Load:
    """Requests of one key on several connections. `stop` lets each of them end after its present request."""

    def __init__(self, site: Site, key: str, orders: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.served: list[Served] = []
        self._errors: list[BaseException] = []
        self._site, self._key = site, key
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(each,), daemon=True) for each in orders]
        for thread in self._threads:
            thread.start()

    def _send(self, orders: Sequence[dict[str, Any]]) -> None:
        try:
            with self._site.router.client() as client:
                client.sock.settimeout(60)
                for request in orders:
                    if self._stopped.is_set():
                        return
                    self.served.append(self._site.ask(client, self._key, request))
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self._errors.append(error)

    def stop(self) -> None:
        self._stopped.set()

    def wait(self) -> list[Served]:
        for thread in self._threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]
        return self.served

    def tokens(self, first: int) -> int:
        """Return the tokens of its requests that were served, without the first ones."""
        return sum(served.tokens for served in self.served[first:])


def p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def jain(values: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 if all values are equal, 1/n if one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


@contextmanager
def site(path: Path, places: int, keys: dict[str, str], engine: Script) -> Iterator[Site]:
    """Run a router with these keys, whose secrets are their names, each with its policy in TOML, and with an engine."""
    instance = Instance()
    instance.play(engine)
    services = [service("a", instance.port, "m", metadata={"max_concurrency": places})]
    flags = ("--static-services", static(path / "static.json", services), "--keys-file", keys_file(path, keys))
    try:
        with router(*flags, "--queue-size", 2000, "--policy", "round_robin") as own:
            yield Site(own)
            own.assert_no_exception()
    finally:
        instance.close()


def keys_file(path: Path, keys: dict[str, str]) -> Path:
    """Write a file of these keys, whose secrets are their names, each with its policy in TOML; return its path."""
    entries = [
        f'{name} = {{ sha256 = "{hashlib.sha256(name.encode()).hexdigest()}", created = 2026-01-01T00:00:00Z{policy} }}'
        for name, policy in keys.items()
    ]
    file = path / "keys.toml"
    file.write_text("[keys]\n" + "\n".join(entries) + "\n")
    file.chmod(0o600)
    return file
