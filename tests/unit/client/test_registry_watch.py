"""When the registry is asked again, and what for."""

from collections.abc import Callable

import pytest

from svc.base.errors import Unavailable
from svc.client.registry import ServiceList
from svc.client.registry_watch import LIST_INTERVAL_SECONDS, RETRY_INTERVAL_SECONDS, RegistryWatch

A, B = "http://a", "http://b"


class Client:
    """Answers with what it is told, after as long as that takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[int | None, float]] = []
        self.answer: Callable[[float], ServiceList] = lambda wait: ServiceList([], 1, A)

    def clock(self) -> float:
        return self.now

    def list_services(self, index: int | None = None, wait: float = 0) -> ServiceList:
        self.asked.append((index, wait))
        return self.answer(wait)

    def at_once(self, index: int | None, url: str = A) -> None:
        self.answer = lambda wait: ServiceList([], index, url)

    def after(self, seconds: float, index: int, url: str = A) -> None:
        def answer(wait: float) -> ServiceList:
            self.now += min(seconds, wait)
            return ServiceList([], index, url)

        self.answer = answer


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def watch(client: Client) -> RegistryWatch:
    return RegistryWatch(client, 10, client.clock)


def test_the_first_list_comes_at_once_and_the_next_when_something_is_new(client: Client, watch: RegistryWatch):
    watch.next_list()
    client.after(12, 2)
    watch.next_list()
    client.after(99, 2)
    watch.next_list(max_wait=7)
    assert client.asked == [(None, 0), (1, 30), (2, 7)]
    assert watch.pause == LIST_INTERVAL_SECONDS


def test_a_registry_that_does_not_wait_is_asked_ever_less_up_to_the_interval(client: Client, watch: RegistryWatch):
    client.at_once(3)
    pauses = []
    for _ in range(8):
        watch.next_list()
        pauses.append(watch.pause)
    assert pauses == [LIST_INTERVAL_SECONDS, 0.5, 1, 2, 4, 8, 10, 10]
    client.at_once(4)
    watch.next_list()
    assert watch.pause == LIST_INTERVAL_SECONDS, "something is new"


def test_a_registry_that_tells_no_revision_is_asked_every_interval(client: Client, watch: RegistryWatch):
    client.at_once(None)
    for _ in range(3):
        watch.next_list()
        assert watch.pause == 10
    assert {index for index, _ in client.asked} == {None}


def test_after_a_failure_the_list_comes_at_once(client: Client, watch: RegistryWatch):
    watch.next_list()

    def fail(wait: float) -> ServiceList:
        raise Unavailable("cannot reach the registry")

    answer, client.answer = client.answer, fail
    with pytest.raises(Unavailable):
        watch.next_list()
    assert watch.pause == RETRY_INTERVAL_SECONDS
    client.answer = answer
    watch.next_list()
    assert client.asked[-1] == (None, 0)


def test_another_registry_is_something_new(client: Client, watch: RegistryWatch):
    client.at_once(5)
    watch.next_list()
    client.at_once(5, B)
    watch.next_list()
    assert watch.pause == LIST_INTERVAL_SECONDS
