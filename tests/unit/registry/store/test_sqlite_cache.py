"""Which reported events the SQLite store drops."""

from svc.protocol.event import Event
from svc.registry.store.contract import MAX_EVENTS_PER_REPORTER, MAX_REPORTED_EVENTS
from svc.registry.store.sqlite_cache import surplus
from tests.unit.registry.services import NOW


def newest_first(*sources):
    """Return an event from each of these sources; the oldest has the id 1."""
    numbered = zip(range(len(sources), 0, -1), sources, strict=True)
    return [Event(id=number, time=NOW, kind="ejected", service="qwen", source=source) for number, source in numbered]


def test_the_oldest_events_of_a_reporter_beyond_its_limit_are_dropped():
    events = newest_first(*["router-a"] * (MAX_EVENTS_PER_REPORTER + 2), "router-b")
    assert list(surplus(events)) == [3, 2]


def test_the_oldest_events_of_all_reporters_beyond_their_limit_are_dropped():
    reporters = MAX_REPORTED_EVENTS // MAX_EVENTS_PER_REPORTER
    events = newest_first(*[f"router-{n}" for n in range(reporters)] * MAX_EVENTS_PER_REPORTER, "router-old")
    assert list(surplus(events)) == [1]
