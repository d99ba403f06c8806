"""When the registry is asked again, and what for."""

from collections.abc import Callable

import pytest

from svc.base.errors import Unavailable
from svc.client.registry import Listing
from svc.client.registry_watch import AWAY_PAUSE, PAUSE, Watch

A, B = "http://a", "http://b"


class Client:
    """Answers with what it is told, after as long as that takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[int | None, float]] = []
        self.answer: Callable[[float], Listing] = lambda wait: Listing([], 1, A)

    def clock(self) -> float:
        return self.now

    def listing(self, index: int | None = None, wait: float = 0) -> Listing:
        self.asked.append((index, wait))
        return self.answer(wait)

    def at_once(self, index: int | None, url: str = A) -> None:
        self.answer = lambda wait: Listing([], index, url)

    def after(self, seconds: float, index: int, url: str = A) -> None:
        def answer(wait: float) -> Listing:
            self.now += min(seconds, wait)
            return Listing([], index, url)

        self.answer = answer


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def watch(client: Client) -> Watch:
    return Watch(client, 10, client.clock)


def test_the_first_list_comes_at_once_and_the_next_when_something_is_new(client: Client, watch: Watch):
    watch.look()
    client.after(12, 2)
    watch.look()
    client.after(99, 2)
    watch.look(most=7)
    assert client.asked == [(None, 0), (1, 30), (2, 7)]
    assert watch.pause == PAUSE


def test_a_registry_that_does_not_wait_is_asked_ever_less_up_to_the_interval(client: Client, watch: Watch):
    client.at_once(3)
    pauses = []
    for _ in range(8):
        watch.look()
        pauses.append(watch.pause)
    assert pauses == [PAUSE, 0.5, 1, 2, 4, 8, 10, 10]
    client.at_once(4)
    watch.look()
    assert watch.pause == PAUSE, "something is new"


def test_a_registry_that_tells_no_revision_is_asked_every_interval(client: Client, watch: Watch):
    client.at_once(None)
    for _ in range(3):
        watch.look()
        assert watch.pause == 10
    assert {index for index, _ in client.asked} == {None}


def test_after_a_failure_the_list_comes_at_once(client: Client, watch: Watch):
    watch.look()

    def fail(wait: float) -> Listing:
        raise Unavailable("cannot reach the registry")

    answer, client.answer = client.answer, fail
    with pytest.raises(Unavailable):
        watch.look()
    assert watch.pause == AWAY_PAUSE
    client.answer = answer
    watch.look()
    assert client.asked[-1] == (None, 0)


def test_another_registry_is_something_new(client: Client, watch: Watch):
    client.at_once(5)
    watch.look()
    client.at_once(5, B)
    watch.look()
    assert watch.pause == PAUSE
