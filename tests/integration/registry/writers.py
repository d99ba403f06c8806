"""A load for a registry that dies: everything that is answered, or not, goes into the ledgers."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import requests

from svc.base.errors import NotFound, Unavailable
from svc.client.registry import RegistryClient
from tests.integration.registry import ledger
from tests.integration.registry.ledger import Act, Ledger

STATES = ("running", "starting", "draining", "stopped")
AWAY = 0.02  # seconds between two tries
PATIENCE = 30.0  # seconds; a request that was given up, and done later all the same, would confuse the ledgers


class Crew:
    """Threads that repeat their work, `pause` seconds apart, until the crew is halted; what they raise is kept."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.halt = threading.Event()
        self.problems: list[BaseException] = []

    @contextmanager
    def at_work(self, works: list[Callable[[], object]]):
        self.halt.clear()
        threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.halt.set()
            for thread in threads:
                thread.join(2 * PATIENCE)
        assert not any(t.is_alive() for t in threads)
        if self.problems:
            raise self.problems[0]

    def _run(self, work: Callable[[], object]) -> None:
        try:
            while not self.halt.is_set():
                pause = self.pause
                try:
                    work()
                except Unavailable:
                    pause = AWAY
                self.halt.wait(pause)
        except BaseException as problem:  # noqa: BLE001 - told in the test's own thread
            self.problems.append(problem)


class Writer:
    """Registers, heartbeats, drains and removes names that are its own, one after the other at random."""

    def __init__(self, url: str, names: list[str], about: Callable[[str], dict[str, Any]], seed: int) -> None:
        self.client = RegistryClient(url, timeout=PATIENCE)
        self.url = url
        self.about = about
        self.ledgers = [Ledger(name) for name in names]
        self.random = random.Random(seed)

    def act(self) -> None:
        mine, now = self.random.choice(self.ledgers), time.time()
        act, send = self._choice(mine.name)
        try:
            send()
        except NotFound:
            mine.unknown(act)
        except Unavailable:
            mine.unanswered(act)
            raise
        else:
            renews = act not in (ledger.remove, ledger.drain, ledger.undrain)
            mine.acknowledged(act, now if renews else 0.0)

    def check(self, services: dict[str, dict[str, Any]]) -> int:
        """`services` is what the registry lists now; how often it has acknowledged a change since the last check."""
        changes = sum(mine.changes for mine in self.ledgers)
        for mine in self.ledgers:
            mine.changes = 0
            s = services.get(mine.name)
            if s is None:
                mine.seen(None)
            else:
                mine.seen(s["status"], s["weight"], s["drained"], s["last_heartbeat"])
        return changes

    def _choice(self, name: str) -> tuple[Act, Callable[[], object]]:
        status, weight = self.random.choice(STATES), self.random.randint(1, 99)
        told = {**self.about(name), "status": status, "weight": weight}
        kind = self.random.choices(("register", "heartbeat", "drain", "undrain", "remove"), (4, 10, 2, 2, 2))[0]
        if kind == "register":
            return ledger.register(status, weight), lambda: self.client.register(told)
        if kind == "heartbeat":
            return ledger.heartbeat(status), lambda: self.client.heartbeat(name, status)
        if kind == "remove":
            return ledger.remove, lambda: self.client.deregister(name)
        return (ledger.drain if kind == "drain" else ledger.undrain), lambda: self._post(f"/services/{name}/{kind}")

    def _post(self, path: str) -> None:
        try:
            answer = requests.post(self.url + path, timeout=PATIENCE)
        except requests.RequestException as error:
            raise Unavailable(str(error)) from error
        if answer.status_code == 404:
            raise NotFound(path)
        if answer.status_code >= 500:
            raise Unavailable(answer.text)
        assert answer.ok, answer.text


class Reader:
    """Follows the revision as a watcher does; it never goes back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.index = 0
        self.client = requests.Session()

    def read(self) -> dict[str, dict[str, Any]]:
        """At once; the services by name."""
        return self._listed({})

    def watch(self) -> None:
        self._listed({"index": str(self.index), "wait": "1"})

    def _listed(self, params: dict[str, str]) -> dict[str, dict[str, Any]]:
        try:
            answer = self.client.get(f"{self.url}/services", params=params, timeout=PATIENCE)
            services = answer.json()["services"]
        except requests.RequestException as error:
            raise Unavailable(str(error)) from error
        index = int(answer.headers["X-Registry-Index"])
        assert index >= self.index, f"the revision went back from {self.index} to {index}"
        self.index = index
        return {s["name"]: s for s in services}
