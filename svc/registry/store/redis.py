"""The store of several hosts: a Redis that any number of registries share."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from svc.base.errors import Unavailable
from svc.protocol import event
from svc.protocol.event import Event
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.owner import OPERATOR, Caller
from svc.registry.revision_watch import UNKNOWN
from svc.registry.store import redis_scripts
from svc.registry.store.base import Change, Test
from svc.registry.store.redis_address import Address
from svc.registry.store.redis_connection import Link

Found = tuple[bytes, bytes, int]  # a record, its last heartbeat, the operator's mark; both empty: there is none
_decoder = msgspec.json.Decoder(Service)
_event_decoder = msgspec.json.Decoder(Event)


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """What Redis held at one moment; `writes` tells whether it holds the same still."""

    at: float  # Unix seconds
    revision: int
    writes: bytes
    records: dict[bytes, bytes]
    drained: frozenset[bytes]
    made: dict[bytes, tuple[Found, Service]]  # by name, in order

    def services(self) -> list[Service]:
        return [service for _, service in self.made.values()]


class RedisStore:
    """Reads are answered from the last copy while Redis is gone, writes are refused."""

    def __init__(self, address: Address) -> None:
        self._link = Link(address)
        self._copy: Copy | None = None
        self._looks, self._newest = itertools.count(), -1
        self.happened: Counter[str] = Counter()

    def snapshot(self) -> tuple[int, list[Service]]:
        number = next(self._looks)
        try:
            copy = self._look(self._copy)
        except Unavailable:
            copy = self._last()
        else:
            if number > self._newest:  # else one that was begun later has come sooner
                self._newest, self._copy = number, copy
        return copy.revision, copy.services()

    def get(self, name: str) -> Service | None:
        try:
            return _service(self._link.run(redis_scripts.FIND, name))
        except Unavailable:
            _, service = self._last().made.get(name.encode(), (None, None))
            return service

    def change(self, name: str, change: Change) -> Service | None:
        found = self._link.run(redis_scripts.FIND, name)
        while True:
            old = _service(found)
            new = change(old)
            if new is None:
                return old
            new = replace(new, drained=bool(found[2]))
            if new == old:
                return new
            happened = event.between(old, new, self.now())
            told = (_record(new), repr(new.last_heartbeat), _calm(new), int(lease.notable(old, new)), happened)
            found = self._swap(name, found, *told)
            if found is None:
                return new

    def remove(self, name: str, when: Test | None = None, why: str = "") -> bool:
        found = self._link.run(redis_scripts.FIND, name)
        while found is not None:
            old = _service(found)
            if old is None or (when is not None and not when(old)):
                return False
            happened = event.between(old, None, self.now(), why)
            found = self._swap(name, found, b"", "", "", 1, happened)
        return True

    def heartbeat(self, name: str, now: float, status: str | None, caller: Caller = OPERATOR) -> bool:
        who = redis_scripts.ANYBODY if caller is OPERATOR else caller
        if self._link.run(redis_scripts.BEAT, name, repr(now), status or "", who):
            return True
        return self.change(name, lambda s: s and lease.beaten(s, now, status, caller)) is not None

    def drain(self, name: str, drained: bool) -> Service | None:
        kind = "drained" if drained else "undrained"
        told = Event(time=self.now(), kind=kind, service=name, message=event.BY_OPERATOR)
        done = self._link.run(redis_scripts.DRAIN, name, int(drained), _joined([told]))
        if done is None:
            return None
        self._link.revision.reached(done[3])
        self.happened.update([told.kind] * done[4])
        return _service(done[:3])

    def wait(self, index: int, timeout: float) -> int:
        changed = self._link.revision.changed  # before the look: what comes after it is not missed
        if self._revision() == index:
            changed.wait(timeout)
        return self._revision()

    def wake(self) -> None:
        self._link.wake()

    def tell(self, events: Sequence[Event]) -> list[Event]:
        """Where an answer of Redis is lost, they are told twice rather than not."""
        last = self._link.run(redis_scripts.TELL, _joined(events))
        self.happened.update(one.kind for one in events)
        self._link.event.reached(last)
        return [replace(one, id=last - len(events) + at) for at, one in enumerate(events, 1)]

    def events(self, after: int, wait: float = 0) -> tuple[list[Event], int]:
        found, last = self._events(after)
        event = self._link.event
        event.reached(last)
        changed = event.changed  # before the next look: what comes after it is not missed
        if found or not wait:
            return found, last
        if event.value == last:
            changed.wait(wait)
        return self._events(after)

    def check(self) -> None:
        self._link.run(redis_scripts.CHECK, "1")

    def notice(self) -> str:
        if not self._link.trouble or self._copy is None:
            return ""
        return f"{self._link.unavailable().message}; the list is as of {self._link.now() - self._copy.at:.0f} s ago"

    def history(self) -> str:
        return ""

    def now(self) -> float:
        return self._link.now()

    def close(self) -> None:
        self._link.close()

    def _events(self, after: int) -> tuple[list[Event], int]:
        last, *found = self._link.run(redis_scripts.EVENTS, after)
        return sorted(map(_event, found), key=lambda one: one.id), last

    def _swap(
        self, name: str, found: Found, record: bytes, beat: str, calm: str, raises: int, events: Sequence[Event]
    ) -> Found | None:
        """Nothing when it is done; else what is there by now."""
        done = self._link.run(redis_scripts.SWAP, name, *found, record, beat, calm, raises, _joined(events))
        if not done[0]:
            return done[1:]
        self.happened.update(one.kind for one in events)
        self._link.revision.reached(done[1])
        return None

    def _revision(self) -> int:
        """Of what a snapshot would tell."""
        known = self._link.revision.value
        return self.snapshot()[0] if known == UNKNOWN or self._link.trouble else known

    def _last(self) -> Copy:
        """The copy to answer from; raises Unavailable where there is none."""
        if self._copy is None or self._link.closed:
            raise self._link.unavailable()
        return self._copy

    def _look(self, last: Copy | None) -> Copy:
        revision, writes, beats, *more = self._link.run(redis_scripts.SNAPSHOT, last.writes if last else b"")
        if more:
            records, drained = _pairs(more[0]), frozenset(more[1].split(b"\n"))
        else:
            assert last is not None
            records, drained = last.records, last.drained
        made, heard = {}, _pairs(beats)
        for name in sorted(records):
            found = (records[name], heard[name], int(name in drained))
            before = last.made.get(name) if last else None
            made[name] = before if before and before[0] == found else (found, _made(found))
        return Copy(self.now(), revision, writes, records, drained, made)


def _pairs(joined: bytes) -> dict[bytes, bytes]:
    parts = joined.split(b"\n") if joined else []
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _service(found: Found) -> Service | None:
    return _made(found) if found[0] else None


def _made(found: Found) -> Service:
    record, beat, drained = found
    return replace(_decoder.decode(record), last_heartbeat=float(beat), drained=bool(drained))


def _joined(events: Sequence[Event]) -> bytes:
    """One a line, each after its reporter, without ids: those are Redis's to give."""
    return b"\n".join(event.reporter_of(one).encode() + b" " + msgspec.json.encode(one) for one in events)


def _event(told: bytes) -> Event:
    """An entry of one of the two lists: what others report has its reporter before the JSON."""
    number, _, rest = told.partition(b" ")
    return replace(_event_decoder.decode(rest[rest.index(b"{") :]), id=int(number))


def _record(service: Service) -> bytes:
    return msgspec.json.encode(replace(service, last_heartbeat=0.0, drained=False))


def _calm(service: Service) -> str:
    """The status with which a heartbeat does no more than renew its lease, and whose heartbeat."""
    beaten = lease.beaten(service, service.last_heartbeat, None)
    return "" if lease.notable(service, beaten) else f"{service.status} {service.owner}"
