"""Read events: the latest ones, those after an id, or an endless stream of server-sent events."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import msgspec

from svc.base.errors import BadRequest, RateLimited, Unavailable
from svc.perimeter.browsers import Headers
from svc.protocol.event import EVENT_KINDS, Event
from svc.registry import validation
from svc.registry.store.contract import MAX_OWN_EVENTS, Store

DEFAULT_EVENT_LIMIT = 100
MAX_EVENT_STREAMS = 200
KEEPALIVE_INTERVAL_SECONDS = 15.0  # a stream without events sends a comment at this interval
KEEPALIVE_COMMENT = b": still here\n\n"
RETRY_FIELD = b"retry: 1000\n\n"  # a client whose stream ends connects again after 1000 ms


class EventQuery(NamedTuple):
    """The events that a request selects."""

    after: int | None = None  # select only events with a higher id; None: select the newest events
    limit: int = DEFAULT_EVENT_LIMIT
    service: str = ""  # empty: all services
    kinds: frozenset[str] = frozenset()  # empty: all kinds
    wait: float = 0.0  # maximum seconds to wait for the first event
    audit: bool = False  # only events with an actor

    def matches(self, event: Event) -> bool:
        return (
            (not self.service or event.service == self.service)
            and (not self.kinds or event.kind in self.kinds)
            and (not self.audit or bool(event.actor))
        )


def parse_event_query(args: Mapping[str, str], headers: Headers) -> EventQuery:
    """Return the event query of a request; raise BadRequest if it is invalid.

    The header Last-Event-ID, which a client sends to resume a broken stream, overrides `after`.
    """
    after = _whole_number("after", args["after"], 10**18) if "after" in args else None
    if (last := headers.get("last-event-id") or "").isdecimal() and len(last) <= 18:
        after = int(last)
    limit = _whole_number("limit", args.get("limit", str(DEFAULT_EVENT_LIMIT)), MAX_OWN_EVENTS, minimum=1)
    kinds = frozenset(filter(None, args.get("kind", "").split(",")))
    if unknown := sorted(kinds - EVENT_KINDS.keys()):
        raise BadRequest(f"kind: there is no {unknown[0]!r}; there are {' '.join(EVENT_KINDS)}", param="kind")
    wait = validation.wait_seconds(args.get("wait"))
    return EventQuery(after, limit, args.get("service", ""), kinds, wait, _flag("audit", args.get("audit", "")))


def _whole_number(name: str, text: str, maximum: int, minimum: int = 0) -> int:
    if not text.isdecimal() or len(text) > 19 or not minimum <= int(text) <= maximum:
        raise BadRequest(f"{name}: must be a number from {minimum} to {maximum}, not {text!r}", param=name)
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise BadRequest(f"{name}: must be true or false, not {text!r}", param=name)
    return text.lower() == "true"


def read_events(store: Store, query: EventQuery) -> tuple[list[Event], int]:
    """Return the events that a query selects, oldest first, and the value of `after` for the next query."""
    if query.after is None:
        events, last = store.events(0, audit=query.audit)
        return [event for event in events if query.matches(event)][-query.limit :], last
    after, deadline = query.after, time.monotonic() + query.wait
    while True:
        remaining = max(0.0, deadline - time.monotonic())
        # store.events cannot wait for events of the audit alone. So, while it may wait, it returns events of all kinds,
        # and `query.matches` selects.
        events, last = store.events(after, remaining, audit=query.audit and not remaining)
        matching = [event for event in events if query.matches(event)]
        if len(matching) > query.limit:
            matching = matching[: query.limit]
            last = matching[-1].id
        if matching or not events or not remaining:
            return matching, last
        after = last


class EventStreams:
    """Streams of events as server-sent events (the HTML standard, 9.2)."""

    def __init__(self, store: Store) -> None:
        self.are_ending = False
        self._store = store
        self._open = 0

    def open(
        self, query: EventQuery, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[bytes]:
        """Return a stream of the events that `query` selects.

        The stream enters the context manager `waiting()` whenever it waits for new events. Raise RateLimited if
        MAX_EVENT_STREAMS streams are open already, and Unavailable if the store fails.
        """
        if self._open >= MAX_EVENT_STREAMS:
            raise RateLimited(f"{MAX_EVENT_STREAMS} streams are open already; close one", retry_after=5)
        return self._stream(query, waiting, *read_events(self._store, query._replace(wait=0)))

    def end(self) -> None:
        """Make every stream end after its current wait, and the clients reconnect.

        Store.wake ends the waits at once.
        """
        self.are_ending = True

    def _stream(
        self, query: EventQuery, waiting: Callable[[], AbstractContextManager[None]], events: list[Event], last: int
    ) -> Iterator[bytes]:
        self._open += 1
        try:
            yield RETRY_FIELD
            while not self.are_ending:
                yield b"".join(map(encode_event, events)) or KEEPALIVE_COMMENT
                with waiting():
                    events, last = read_events(self._store, query._replace(after=last, wait=KEEPALIVE_INTERVAL_SECONDS))
        except Unavailable:
            return  # the client reconnects, and gets the error if the store still fails
        finally:
            self._open -= 1


def encode_event(event: Event) -> bytes:
    data = msgspec.json.encode(event.to_json())
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), data)
