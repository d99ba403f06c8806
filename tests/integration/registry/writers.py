"""Load for a registry that is killed: ledgers record what it acknowledged and what it left unanswered."""

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
from tests.integration.registry.ledger import Ledger, Operation

STATES = ("running", "starting", "draining", "stopped")
RETRY_INTERVAL_SECONDS = 0.02
REQUEST_TIMEOUT_SECONDS = 30.0  # long, because a request that is done after its timeout would contradict the ledgers


class Workers:
    """Threads that repeat their work, `pause` seconds apart, until `halt` is set; what they raise is in `problems`."""

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
                thread.join(2 * REQUEST_TIMEOUT_SECONDS)
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
                    pause = RETRY_INTERVAL_SECONDS
                self.halt.wait(pause)
        except BaseException as problem:  # noqa: BLE001 - the thread of the test raises it
            self.problems.append(problem)


class Writer:
    """Registers, renews, drains and removes names that are its own, one after the other at random."""

    def __init__(self, url: str, names: list[str], registration_of: Callable[[str], dict[str, Any]], seed: int) -> None:
        self.client = RegistryClient(url, timeout=REQUEST_TIMEOUT_SECONDS)
        self.url = url
        self.registration_of = registration_of
        self.ledgers = [Ledger(name) for name in names]
        self.random = random.Random(seed)

    def operate(self) -> None:
        ledger_of_name, now = self.random.choice(self.ledgers), time.time()
        operation, send = self._choose(ledger_of_name.name)
        try:
            send()
        except NotFound:
            ledger_of_name.unknown(operation)
        except Unavailable:
            ledger_of_name.unanswered(operation)
            raise
        else:
            renews = operation not in (ledger.remove, ledger.drain, ledger.undrain)
            ledger_of_name.acknowledged(operation, now if renews else 0.0)

    def check(self, services: dict[str, dict[str, Any]]) -> int:
        """Compare with what the registry lists now; return the number of changes acknowledged since the last check."""
        changes = sum(entry.changes for entry in self.ledgers)
        for entry in self.ledgers:
            entry.changes = 0
            service = services.get(entry.name)
            if service is None:
                entry.listed(None)
            else:
                entry.listed(service["status"], service["weight"], service["drained"], service["last_heartbeat"])
        return changes

    def _choose(self, name: str) -> tuple[Operation, Callable[[], object]]:
        status, weight = self.random.choice(STATES), self.random.randint(1, 99)
        payload = {**self.registration_of(name), "status": status, "weight": weight}
        kind = self.random.choices(("register", "heartbeat", "drain", "undrain", "remove"), (4, 10, 2, 2, 2))[0]
        if kind == "register":
            return ledger.register(status, weight), lambda: self.client.register(payload)
        if kind == "heartbeat":
            return ledger.heartbeat(status), lambda: self.client.heartbeat(name, status)
        if kind == "remove":
            return ledger.remove, lambda: self.client.deregister(name)
        return (ledger.drain if kind == "drain" else ledger.undrain), lambda: self._post(f"/services/{name}/{kind}")

    def _post(self, path: str) -> None:
        try:
            answer = requests.post(self.url + path, timeout=REQUEST_TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise Unavailable(str(error)) from error
        if answer.status_code == 404:
            raise NotFound(path)
        if answer.status_code >= 500:
            raise Unavailable(answer.text)
        assert answer.ok, answer.text


class Reader:
    """Follows the revision as a watcher does, and asserts that it never decreases."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.index = 0
        self.client = requests.Session()

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the services by name, at once."""
        return self._list({})

    def watch(self) -> None:
        self._list({"index": str(self.index), "wait": "1"})

    def _list(self, params: dict[str, str]) -> dict[str, dict[str, Any]]:
        try:
            answer = self.client.get(f"{self.url}/services", params=params, timeout=REQUEST_TIMEOUT_SECONDS)
            services = answer.json()["services"]
        except requests.RequestException as error:
            raise Unavailable(str(error)) from error
        index = int(answer.headers["X-Registry-Index"])
        assert index >= self.index, f"the revision went back from {self.index} to {index}"
        self.index = index
        return {s["name"]: s for s in services}
