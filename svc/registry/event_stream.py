"""What happened, for those who ask: a list, a wait for the next one, or a stream."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

import msgspec

from svc.base.errors import BadRequest, RateLimited, Unavailable
from svc.protocol.event import KINDS, OWN_SOURCE, Event
from svc.registry import validation
from svc.registry.store.base import MAX_OWN_EVENTS, Store

LIMIT = 100  # events of an answer, unless another number is asked for
MOST_STREAMS = 200
SILENCE = 15.0  # seconds without an event until a stream says that it is there still
COMMENT = b": still here\n\n"


class Asked(NamedTuple):
    """`after` is None where the newest are meant; `kinds` empty: all."""

    after: int | None = None
    limit: int = LIMIT
    service: str = ""
    kinds: frozenset[str] = frozenset()
    wait: float = 0.0

    def passes(self, event: Event) -> bool:
        return (not self.service or event.service == self.service) and (not self.kinds or event.kind in self.kinds)


def asked(args: Mapping[str, str], headers: Any) -> Asked:
    """What a query says; a stream that was broken off says in a header where. Raises BadRequest."""
    after = _whole("after", args["after"], 10**18) if "after" in args else None
    if (last := headers.get("Last-Event-ID", "")).isdecimal() and len(last) <= 18:
        after = int(last)
    limit = _whole("limit", args.get("limit", str(LIMIT)), MAX_OWN_EVENTS, least=1)
    kinds = frozenset(filter(None, args.get("kind", "").split(",")))
    if unknown := sorted(kinds - KINDS.keys()):
        raise BadRequest(f"kind: there is no {unknown[0]!r}; there are {' '.join(KINDS)}", param="kind")
    return Asked(after, limit, args.get("service", ""), kinds, validation.seconds(args.get("wait")))


def _whole(name: str, text: str, most: int, least: int = 0) -> int:
    if not text.isdecimal() or len(text) > 19 or not least <= int(text) <= most:
        raise BadRequest(f"{name}: must be a number from {least} to {most}, not {text!r}", param=name)
    return int(text)


def look(store: Store, asked: Asked) -> tuple[list[Event], int]:
    """What was asked for, oldest first, and after which id to go on."""
    if asked.after is None:
        found, last = store.events(0)
        return [event for event in found if asked.passes(event)][-asked.limit :], last
    after, until = asked.after, time.monotonic() + asked.wait
    while True:
        left = max(0.0, until - time.monotonic())
        found, last = store.events(after, left)
        passed = [event for event in found if asked.passes(event)]
        if len(passed) > asked.limit:
            passed = passed[: asked.limit]
            last = passed[-1].id
        if passed or not found or not left:
            return passed, last
        after = last


def begun(store: Store) -> None:
    """Tells that this registry was started again; nothing of a store that is new or fails."""
    with suppress(Unavailable):
        if not store.events(0)[1]:
            return
        now, services = store.now(), store.snapshot()[1]
        heard = max((service.last_heartbeat for service in services), default=now)
        message = f"the last heartbeat was {now - heard:.0f} s ago" if services else ""
        store.tell([Event(time=now, kind="started", service=OWN_SOURCE, message=message)])


class Streams:
    """Events as server-sent events (the HTML standard, 9.2)."""

    def __init__(self, store: Store) -> None:
        self.over = False
        self._store = store
        self._open = 0

    def open(self, asked: Asked, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> Iterator[bytes]:
        """Return a stream, which is in the context `waiting` while it waits for events.

        Raises RateLimited when MOST_STREAMS are open, and what the store raises.
        """
        if self._open >= MOST_STREAMS:
            raise RateLimited(f"{MOST_STREAMS} streams are open already; close one", retry_after=5)
        return self._stream(asked, waiting, *look(self._store, asked._replace(wait=0)))

    def end(self) -> None:
        """Of all of them; whoever reads comes again. The store lets go of those who wait."""
        self.over = True

    def _stream(
        self, asked: Asked, waiting: Callable[[], AbstractContextManager[None]], found: list[Event], last: int
    ) -> Iterator[bytes]:
        self._open += 1
        try:  # where the store fails, whoever reads comes again
            yield b"retry: 1000\n\n"
            while not self.over:
                yield b"".join(map(written, found)) or COMMENT
                with waiting():
                    found, last = look(self._store, asked._replace(after=last, wait=SILENCE))
        except Unavailable:
            return
        finally:
            self._open -= 1


def written(event: Event) -> bytes:
    data = msgspec.json.encode(event.to_json())
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), data)
