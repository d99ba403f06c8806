"""A router with a fake registry that lists the instances of a test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.router.client import Answer, Client, post
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, ok
from tests.integration.router.registry import Registry, instance, registry
from tests.integration.router.routers import Router, router
from tests.waiting import wait_until


class Listed:
    def __init__(self, own: Router, fake: Registry) -> None:
        self.router = own
        self.registry = fake

    def tell(self, *services: dict[str, Any]) -> None:
        """Let the registry list these services, and wait until the router has them."""
        self.registry.index += 1
        self.registry.services = list(services)
        wanted = [(s["name"], s["status"], s["port"]) for s in sorted(services, key=lambda s: s["name"])]
        wait_until(lambda: self._received() == wanted, description="the router to hear of it", interval=0.01)

    def _received(self) -> list[tuple[str, str, int]]:
        return [(s["name"], s["status"], s["port"]) for s in self.router.get("/services").json()["services"]]

    def waiting(self) -> int:
        return self.router.get("/stats").json()["waiting"]

    def ask(self, model: str, **more: Any) -> Client:
        """Return a client that has sent a request and not yet read the answer."""
        return self.router.client().send(post({"model": model, **more}))

    def answer(self, model: str, **more: Any) -> Answer:
        with self.ask(model, **more) as client:
            return client.answer()


@contextmanager
def listed(*flags: object) -> Iterator[Listed]:
    with registry() as fake:
        quick = ("--registry-url", fake.url, "--registry-sync-interval", 0.1, "--service-removal-grace-period", 0)
        with router(*quick, *flags) as own:
            yield Listed(own, fake)
            assert "Traceback" not in own.output()


def at(made: Instance, name: str, *models: str, **more: Any) -> dict[str, Any]:
    """Return an instance as the registry lists it; it is its own babysitter."""
    metadata = {"babysitter": f"http://127.0.0.1:{made.port}", **more.pop("metadata", {})}
    return instance(name, made.port, *models, metadata=metadata, **more)


class Gate:
    """A script that answers each request when it is let through; `most` is the highest number at once."""

    def __init__(self, answer: Callable[[Peer, ReceivedRequest], object] = ok, pause: float = 0) -> None:
        self.received: list[bytes] = []
        self.now = self.most = 0
        self._answer = answer
        self._pause = pause
        self._free = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self, peer: Peer, received: ReceivedRequest) -> object:
        with self._lock:
            self.received.append(received.body)
            self.now += 1
            self.most = max(self.most, self.now)
        assert self._free.acquire(timeout=20)
        threading.Event().wait(self._pause)
        with self._lock:
            self.now -= 1
        return self._answer(peer, received)

    def let(self, count: int = 1) -> None:
        self._free.release(count)
