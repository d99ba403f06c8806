"""Events reach the registry, wait for it, or are refused."""

import pytest

from svc.base.errors import BadRequest, RateLimited, Unavailable
from svc.client.event_sender import Delivery, EventSender

EVENTS = [{"kind": "ejected", "service": "a"}]


class Registry:
    """A client of a registry that accepts events, or raises `error`."""

    def __init__(self) -> None:
        self.events: list[dict[str, str]] = []
        self.error: Exception | None = None

    def report_events(self, events: list[dict[str, str]]) -> None:
        if self.error is not None:
            raise self.error
        self.events += events


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_accepted_events_reach_the_registry(registry: Registry):
    assert EventSender(registry).send(EVENTS) is Delivery.ACCEPTED
    assert registry.events == EVENTS


def test_events_are_postponed_while_the_registry_is_away(registry: Registry):
    sender = EventSender(registry)
    registry.error = Unavailable("cannot reach the registry")
    assert sender.send(EVENTS) is Delivery.POSTPONED
    assert sender.is_ready, "the next try may succeed"


def test_no_event_is_sent_until_the_rate_limit_allows_it(registry: Registry):
    now = 0.0
    sender = EventSender(registry, lambda: now)
    registry.error = RateLimited("too many", retry_after=30)
    assert sender.send(EVENTS) is Delivery.POSTPONED
    now = 29.0
    assert not sender.is_ready
    now = 30.0
    assert sender.is_ready


def test_each_reason_of_a_refusal_is_logged_once(registry: Registry, caplog: pytest.LogCaptureFixture):
    sender = EventSender(registry)
    for message in ("no such path", "no such path", "invalid"):
        registry.error = BadRequest(message)
        assert sender.send(EVENTS) is Delivery.REFUSED
    assert [record.getMessage() for record in caplog.records] == [
        "the registry takes no events: no such path",
        "the registry takes no events: invalid",
    ]
