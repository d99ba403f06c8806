"""The queries of GET /events: their parameters, what they select, and the stream."""

import pytest

from svc.base.errors import BadRequest, RateLimited
from svc.protocol.event import Event
from svc.registry import event_query
from svc.registry.event_query import EventQuery, EventStreams, parse_event_query, read_events
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


def add(store, *kinds, name="qwen"):
    store.add_events([Event(time=NOW, kind=kind, service=name) for kind in kinds])


def test_the_parameters_are_parsed():
    args = {"after": "7", "limit": "5", "service": "qwen", "kind": "left,drained", "wait": "2.5"}
    assert parse_event_query(args, {}) == EventQuery(7, 5, "qwen", frozenset({"left", "drained"}), 2.5)
    assert parse_event_query({}, {}) == EventQuery()


def test_the_last_event_id_of_a_broken_stream_replaces_after():
    assert parse_event_query({"after": "7"}, {"last-event-id": "9"}).after == 9
    assert parse_event_query({"after": "7"}, {"last-event-id": "nine"}).after == 7


@pytest.mark.parametrize(
    "args",
    [{"after": "-1"}, {"limit": "0"}, {"limit": "1001"}, {"after": "x"}, {"kind": "left,gone"}, {"wait": "long"}],
)
def test_an_invalid_parameter_is_named(args):
    (name,) = args
    with pytest.raises(BadRequest, match=f"^{name}: ") as failure:
        parse_event_query(args, {})
    assert failure.value.param == name


def test_without_after_the_newest_events_are_returned(store):
    add(store, "left", "drained", "undrained")
    events, last = read_events(store, EventQuery(limit=2))
    assert ([event.kind for event in events], last) == (["drained", "undrained"], 3)


def test_a_limited_page_continues_where_it_ended(store):
    add(store, "left", "drained", "undrained")
    events, last = read_events(store, EventQuery(after=0, limit=2))
    assert ([event.kind for event in events], last) == (["left", "drained"], 2)
    events, last = read_events(store, EventQuery(after=last, limit=2))
    assert ([event.kind for event in events], last) == (["undrained"], 3)


def test_events_that_the_filter_rejects_are_skipped(store):
    add(store, "left", "drained")
    add(store, "drained", name="other")
    query = EventQuery(after=0, service="qwen", kinds=frozenset({"drained"}))
    events, last = read_events(store, query)
    assert ([event.id for event in events], last) == ([2], 3)


def test_a_stream_sends_events_with_their_ids_then_comments(store, monkeypatch):
    monkeypatch.setattr(event_query, "KEEPALIVE_INTERVAL_SECONDS", 0.0)
    add(store, "left")
    stream = EventStreams(store).open(EventQuery())
    assert next(stream) == event_query.RETRY_FIELD
    assert next(stream).startswith(b"id: 1\nevent: left\ndata: {")
    assert next(stream) == event_query.KEEPALIVE_COMMENT


def test_more_streams_than_the_limit_are_refused_until_one_ends(store, monkeypatch):
    monkeypatch.setattr(event_query, "MAX_EVENT_STREAMS", 1)
    streams = EventStreams(store)
    stream = streams.open(EventQuery())
    next(stream)
    with pytest.raises(RateLimited):
        streams.open(EventQuery())
    stream.close()
    next(streams.open(EventQuery()))
