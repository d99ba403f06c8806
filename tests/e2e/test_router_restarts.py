"""The router restarts under load without a failed request."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.sites import SharedSite, Site
from tests.e2e.traffic import HEAVY_PAUSE_SECONDS, Traffic, read_stream
from tests.waiting import wait_until

COMMANDS = [["restart", "router"], ["signal", "HUP", "router"], ["update"]]


def start_busy(site: Site, workers: int) -> None:
    settings = site.root / "config" / "svc.toml"
    settings.write_text(f"{settings.read_text()}workers = {workers}\n")
    site.mock("one", "m", "--token-delay", "0.002")
    site.mock("two", "m", "--token-delay", "0.002")
    site.mock("slow", "slow", "--token-delay", "0.05", "--tokens", "100")
    site.svc("up")


@pytest.fixture(
    scope="module", params=[1, pytest.param(3, marks=pytest.mark.long)], ids=["one process", "three processes"]
)
def shared_busy(request: pytest.FixtureRequest) -> Iterator[SharedSite]:
    shared = SharedSite(partial(start_busy, workers=request.param))
    yield shared
    shared.end()


@pytest.fixture
def busy(shared_busy: SharedSite) -> Iterator[Site]:
    """Yield a site with two instances of m and a slow one; the tests that leave it as it was share it."""
    yield shared_busy.open()
    shared_busy.end_if_changed()


@pytest.mark.parametrize("command", COMMANDS, ids=["restart", "HUP", "changed settings"])
def test_no_request_fails_and_an_open_stream_completes(busy, command):
    streamed = busy.chat("slow", stream=True)
    events: list[str] = []
    reading = threading.Thread(target=lambda: events.extend(read_stream(streamed)), daemon=True)
    reading.start()
    before = router_workers(busy)
    if command == ["update"]:
        settings = busy.root / "config" / "svc.toml"
        settings.write_text(settings.read_text().replace("[router]", "[router]\nmax_errors = 5"))
        busy.svc("render")
    with (
        Traffic(busy.router, kept=True, pause_seconds=HEAVY_PAUSE_SECONDS) as kept,
        Traffic(busy.router, kept=False, pause_seconds=HEAVY_PAUSE_SECONDS) as fresh,
    ):
        wait_until(lambda: kept.answered > 20 and fresh.answered > 20, description="traffic")
        busy.run("supervisorctl", *command)
        wait_until(
            lambda: router_workers(busy) and not before & router_workers(busy),
            timeout=40,
            description="new workers alone",
        )
        marks = kept.answered, fresh.answered
        wait_until(
            lambda: kept.answered > marks[0] + 20 and fresh.answered > marks[1] + 20,
            timeout=10 * len(router_workers(busy)),  # they have been forked, and start side by side
            description="traffic through the new ones",
        )
    assert kept.failures == []
    assert fresh.failures == []
    reading.join(30)
    assert events[-1] == "[DONE]"
    assert not any('"error"' in event for event in events)
    assert len(events) > 100


def router_workers(site) -> set[int]:
    """Return the pids of the router's worker processes."""
    master = site.pid("router")
    return {pid for pid in site.processes() if pid != master and _parent(pid) == master}


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
