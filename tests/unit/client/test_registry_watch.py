"""The requests of a registry watch, and the pauses between them."""

from collections.abc import Callable

import pytest

from svc.base.errors import Unavailable
from svc.client.registry import ServiceList
from svc.client.registry_watch import LIST_INTERVAL_SECONDS, RETRY_INTERVAL_SECONDS, RegistryWatch

A, B = "http://a", "http://b"


class Client:
    """A client whose answers and their duration the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.requests: list[tuple[int | None, float]] = []
        self.answer: Callable[[float], ServiceList] = lambda wait: ServiceList([], 1, A)

    def clock(self) -> float:
        return self.now

    def list_services(self, index: int | None = None, wait: float = 0) -> ServiceList:
        self.requests.append((index, wait))
        return self.answer(wait)

    def answer_at_once(self, index: int | None, url: str = A) -> None:
        self.answer = lambda wait: ServiceList([], index, url)

    def answer_after(self, seconds: float, index: int, url: str = A) -> None:
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


def test_the_first_list_comes_at_once_and_the_next_with_a_change(client: Client, watch: RegistryWatch):
    watch.next_list()
    client.answer_after(12, 2)
    watch.next_list()
    client.answer_after(99, 2)
    watch.next_list(max_wait=7)
    assert client.requests == [(None, 0), (1, 30), (2, 7)]
    assert watch.pause == LIST_INTERVAL_SECONDS


def test_a_registry_that_does_not_wait_is_asked_less_and_less(client: Client, watch: RegistryWatch):
    client.answer_at_once(3)
    pauses = []
    for _ in range(8):
        watch.next_list()
        pauses.append(watch.pause)
    assert pauses == [LIST_INTERVAL_SECONDS, 0.5, 1, 2, 4, 8, 10, 10]
    client.answer_at_once(4)
    watch.next_list()
    assert watch.pause == LIST_INTERVAL_SECONDS, "the list has changed"


def test_a_registry_without_revision_is_asked_every_interval(client: Client, watch: RegistryWatch):
    client.answer_at_once(None)
    for _ in range(3):
        watch.next_list()
        assert watch.pause == 10
    assert {index for index, _ in client.requests} == {None}


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
    assert client.requests[-1] == (None, 0)


def test_a_list_of_another_registry_is_a_change(client: Client, watch: RegistryWatch):
    client.answer_at_once(5)
    watch.next_list()
    client.answer_at_once(5, B)
    watch.next_list()
    assert watch.pause == LIST_INTERVAL_SECONDS
