"""`max_concurrency = "auto"` from end to end: the engine reports its queue, and requests wait in the router instead."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.registry.process import Registry
from tests.integration.router.accounts import Site, TimedEngine, body, keys_file
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.registry import instance
from tests.integration.router.routers import router
from tests.waiting import wait_until

PLACES = 4
REPORT_INTERVAL_SECONDS = 0.1


class EngineWithQueue(TimedEngine):
    """Works on PLACES requests at once; the others wait in its own queue, in the order of their arrival."""

    def __init__(self) -> None:
        super().__init__()
        self._places = threading.Condition()
        self._arrived = self._begun = 0
        self.running = 0
        self.has_ended = False

    @property
    def waiting(self) -> int:
        return self._arrived - self._begun

    def __call__(self, peer: Peer, received: ReceivedRequest) -> None:
        with self._places:
            number, self._arrived = self._arrived, self._arrived + 1
            self._places.wait_for(lambda: self._begun == number and self.running < PLACES)
            self._begun += 1
            self.running += 1
            self._places.notify_all()
        try:
            super().__call__(peer, received)
        finally:
            with self._places:
                self.running -= 1
                self._places.notify_all()

    def report_load(self, url: str) -> None:
        """Report running and waiting requests until the engine has ended, as its babysitter does."""
        pause = threading.Event()
        while not self.has_ended:
            load = {"running": self.running, "waiting": self.waiting, "interval": 1.0}
            assert requests.post(url, json=load, timeout=5).status_code == 200
            pause.wait(REPORT_INTERVAL_SECONDS)


@contextmanager
def site(path: Path, engine: EngineWithQueue, workers: int) -> Iterator[Site]:
    """Run a registry, a router and the engine, which has no limit but the one that the router finds."""
    registry = Registry(path).start()
    own = Instance()
    own.play(engine)
    about = {"max_concurrency": "auto", "health_url": f"http://127.0.0.1:{own.port}/health"}
    registry.client.register(instance("a", own.port, "m", metadata=about))
    url = registry.client.urls[0]
    reporter = threading.Thread(target=engine.report_load, args=(f"{url}/services/a/load",), daemon=True)
    reporter.start()
    keys = keys_file(path, {"flood": "", "chat": ""})
    flags = ("--registry-url", url, "--load-interval", 0.1, "--keys-file", keys, "--queue-size", 500)
    try:
        with router(*flags, "--workers", workers) as relay:
            headers = {"Authorization": "Bearer chat"}
            wait_until(
                lambda: requests.get(relay.url + "/services", headers=headers, timeout=5).json()["services"][0]["load"],
                description="the router to know the engine's load",
            )
            yield Site(relay)
            relay.assert_no_exception()
    finally:
        engine.has_ended = True
        reporter.join(10)
        own.close()
        registry.end()


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_wait_in_the_router_and_not_in_the_engine(tmp_path: Path, workers: int):
    engine = EngineWithQueue()
    with site(tmp_path, engine, workers) as own:
        flood = own.begin("flood", [[body(20, 0.02, 0.05)] * 60 for _ in range(24)])
        wait_until(lambda: own.waiting() >= 16, description="most requests of the flood to wait in the router")
        wait_until(lambda: 0 < engine.waiting <= 3, description="few of them to wait in the engine")
        before = len(flood.served)
        own.one_by_one("chat", [body(5)] * 3)
        assert len(flood.served) - before < 2 * 24, "first come, first served, three turns of the flood's 24 streams"
        assert own.waiting() > 0
        flood.stop()
        flood.wait()
