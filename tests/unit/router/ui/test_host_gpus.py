"""The GPUs on the page: read while a page is open, one entry a host, and only what has changed."""

import json

import pytest

from svc.base.errors import NotFound, Unavailable
from svc.protocol.gpu_report import Gpu, GpuProcess, ListedHost
from svc.router.ui.feed import Feed
from svc.router.ui.host_gpus import (
    IDLE_INTERVAL_SECONDS,
    READ_INTERVAL_SECONDS,
    RETRY_INTERVAL_SECONDS,
    GpuFollower,
    hosts_of,
)
from tests.unit.router.examples import Clock, state, target

GB = 10**9


def host(name: str, *gpus: Gpu, service: str = "babysitter", age: float = 1.0, problem: str = "") -> ListedHost:
    return ListedHost(service=service, hostname=name, age=age, tool="nvidia-smi", gpus=gpus, problem=problem)


def gpu(index: int = 0, used: int = 0, *processes: GpuProcess, **more) -> Gpu:
    return Gpu(index=index, name="H100", memory_total=80 * GB, memory_used=used, processes=processes, **more)


def process(pid: int, memory: int | None = GB, instance: str = "", command: str = "python") -> GpuProcess:
    return GpuProcess(pid=pid, memory=memory, instance=instance, command=command)


class Registry:
    """A registry whose answer is `hosts`, or the error in `fails`."""

    def __init__(self) -> None:
        self.hosts: list[ListedHost] = []
        self.fails: Exception | None = None
        self.reads = 0

    def gpus(self) -> list[ListedHost]:
        self.reads += 1
        if self.fails:
            raise self.fails
        return self.hosts


class Site:
    def __init__(self) -> None:
        self.clock, self.registry = Clock(), Registry()
        self.feed = Feed(state(target("a", "m"), clock=self.clock), now=lambda: 7.0)
        self.follower = GpuFollower(self.feed, self.registry, self.clock)


@pytest.fixture
def site() -> Site:
    return Site()


def messages(page) -> list[dict]:
    """Return the messages about GPUs that the page has not read yet."""
    page.send(b"")  # so that there is something to read
    blocks = [block.partition("\ndata: ") for block in next(page).decode().split("\n\n")]
    return [json.loads(data) for event, _, data in blocks if event == "event: gpus"]


def test_no_gpus_are_read_while_no_page_is_open(site: Site):
    assert site.follower.run_round() == IDLE_INTERVAL_SECONDS
    assert site.registry.reads == 0
    page = site.feed.open()
    assert site.follower.run_round() == READ_INTERVAL_SECONDS
    page.close()
    site.follower.run_round()
    assert site.registry.reads == 1


def test_a_page_gets_all_hosts_and_then_those_that_have_changed(site: Site):
    site.registry.hosts = [host("a", gpu(0)), host("b", gpu(0))]
    page = site.feed.open()
    assert messages(page) == [], "they are not read yet"
    site.follower.run_round()
    (first,) = messages(page)
    assert (first["hosts"], list(first["changed"])) == (["a", "b"], ["a", "b"])
    site.registry.hosts = [host("a", gpu(0), age=3.5), host("b", gpu(0, used=GB))]
    site.follower.run_round()
    (second,) = messages(page)
    assert (second["hosts"], list(second["changed"])) == (["a", "b"], ["b"])
    site.follower.run_round()
    assert messages(page) == []
    later = site.feed.open()
    assert list(messages(later)[0]["changed"]) == ["a", "b"]


def test_a_page_that_opens_later_gets_no_old_reading(site: Site):
    site.registry.hosts = [host("a", gpu(0))]
    page = site.feed.open()
    site.follower.run_round()
    page.close()
    site.follower.run_round()
    assert messages(site.feed.open()) == []


def test_gpus_stay_until_they_are_too_old_if_no_registry_answers(site: Site):
    site.registry.hosts = [host("a", gpu(0), age=4.0)]
    page = site.feed.open()
    site.follower.run_round()
    site.registry.fails = Unavailable("no registry answers")
    site.clock.now += 10
    site.follower.run_round()
    assert len(messages(page)) == 1, "15 seconds are not over"
    site.clock.now += 2
    assert site.follower.run_round() == READ_INTERVAL_SECONDS
    assert messages(page) == [{"hosts": [], "changed": {}}]


def test_a_registry_without_gpus_is_seldom_asked_again(site: Site):
    site.feed.open()
    site.registry.fails = NotFound("no such path")
    assert site.follower.run_round() == RETRY_INTERVAL_SECONDS


def test_numbers_are_rounded_so_that_noise_sends_nothing():
    noisy = gpu(0, utilization=0.52345, temperature=61.4, power=412.7)
    (shown,) = hosts_of([host("a", noisy)])["a"]["gpus"]
    assert (shown["utilization"], shown["temperature"], shown["power"]) == (0.52, 61, 413)


def test_a_host_whose_tool_fails_shows_why():
    assert hosts_of([host("a", problem="nvidia-smi: no driver")])["a"] == {
        "problem": "nvidia-smi: no driver",
        "gpus": [],
    }
