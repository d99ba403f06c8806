"""The store for several hosts: a Redis server that any number of registries share."""

import dataclasses
import itertools
import secrets
from collections import Counter
from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from svc.base.errors import Unavailable
from svc.protocol import event
from svc.protocol.event import Actor, Event
from svc.protocol.gpu_report import MAX_HOSTS, MAX_REPORT_AGE_SECONDS, GpuReport, ListedHost
from svc.protocol.instance_load import MAX_LOAD_AGE_SECONDS, ListedLoad
from svc.protocol.service import Service
from svc.registry.leases import lease
from svc.registry.leases.lease import LeaseRenewal
from svc.registry.leases.owner import OPERATOR, Caller
from svc.registry.store import redis_reports, redis_scripts
from svc.registry.store.contract import Change, Condition, LoadReport
from svc.registry.store.redis_address import RedisAddress
from svc.registry.store.redis_connection import RedisConnection
from svc.registry.store.report_table import current_hosts, current_loads
from svc.registry.store.revision_watch import UNKNOWN

# A service's JSON, its last heartbeat, and its mark: 1 if it is drained, 2 if with a handover, else 0. The first two
# are empty for an unknown name.
Record = tuple[bytes, bytes, int]
_decoder = msgspec.json.Decoder(Service)
_event_decoder = msgspec.json.Decoder(Event)


@dataclasses.dataclass(frozen=True, slots=True)
class RedisSnapshot:
    """The content of Redis at one moment. Two snapshots with equal `writes` differ in heartbeats only."""

    at: float  # Unix seconds
    revision: int
    writes: bytes
    records: dict[bytes, bytes]
    drained: frozenset[bytes]
    handovers: frozenset[bytes]
    decoded: dict[bytes, tuple[Record, Service]]  # name -> the record and the service decoded from it; sorted by name

    def services(self) -> list[Service]:
        return [service for _, service in self.decoded.values()]


class RedisStore:
    """A store in Redis. While Redis does not answer, the store reads from the last snapshot and refuses writes."""

    def __init__(self, address: RedisAddress) -> None:
        self._connection = RedisConnection(address)
        self._id = secrets.token_hex(8)  # identifies this registry among those with this store
        self._last_snapshot: RedisSnapshot | None = None
        self._snapshot_numbers, self._last_number = itertools.count(), -1
        self.event_counts: Counter[str] = Counter()

    def snapshot(self) -> tuple[int, list[Service]]:
        number = next(self._snapshot_numbers)
        try:
            snapshot = self._read_snapshot(self._last_snapshot)
        except Unavailable:
            snapshot = self._require_last_snapshot()
        else:
            if number > self._last_number:  # if lower, a later read has already stored a newer snapshot
                self._last_number, self._last_snapshot = number, snapshot
        return snapshot.revision, snapshot.services()

    def get(self, name: str) -> Service | None:
        try:
            return _service(self._connection.run(redis_scripts.FIND, name))
        except Unavailable:
            _, service = self._require_last_snapshot().decoded.get(name.encode(), (None, None))
            return service

    def change(self, name: str, change: Change, actor: Actor | None = None) -> Service | None:
        record = self._connection.run(redis_scripts.FIND, name)
        while True:
            old = _service(record)
            new = change(old)
            if new is None:
                return old
            new = _marked(new, record[2])
            if new == old:
                return new
            events = event.events_between(old, new, self.now(), actor=actor)
            raises_revision = int(lease.is_visible_change(old, new))
            replacement = (_encode(new), repr(new.last_heartbeat), _plain_heartbeat(new))
            record = self._swap(name, record, *replacement, raises_revision, events)
            if record is None:
                return new

    def remove(self, name: str, when: Condition | None = None, why: str = "", actor: Actor | None = None) -> bool:
        record = self._connection.run(redis_scripts.FIND, name)
        while record is not None:
            old = _service(record)
            if old is None or (when is not None and not when(old)):
                return False
            events = event.events_between(old, None, self.now(), why, actor)
            record = self._swap(name, record, b"", "", "", 1, events)
        return True

    def renew_leases(self, renewals: Sequence[LeaseRenewal], now: float) -> list[bool]:
        if not renewals:
            return []
        arguments = [
            (name, status or "", redis_scripts.ANY_OWNER if caller is OPERATOR else caller)
            for name, status, caller in renewals
        ]
        results = self._connection.run(redis_scripts.RENEW, repr(now), *itertools.chain.from_iterable(arguments))
        return [bool(result) for result in results]

    def put_loads(self, reports: Sequence[LoadReport], now: float) -> list[bool]:
        arguments: list[str | bytes] = []
        for name, load, caller in reports:
            sender = redis_scripts.ANY_OWNER if caller is OPERATOR else caller
            arguments += [name, sender, msgspec.json.encode(load)]
        return [bool(result) for result in self._connection.run(redis_scripts.PUT_LOADS, repr(now), *arguments)]

    def loads(self, now: float) -> list[ListedLoad]:
        joined = self._connection.run(redis_scripts.LOADS, repr(now - MAX_LOAD_AGE_SECONDS))
        return current_loads(redis_reports.loads(_pairs(joined)), now)

    def put_gpus(self, name: str, report: GpuReport, caller: Caller, now: float) -> bool:
        sender = redis_scripts.ANY_OWNER if caller is OPERATOR else caller
        oldest = repr(now - MAX_REPORT_AGE_SECONDS)
        arguments = (repr(now), name, sender, msgspec.json.encode(report), str(MAX_HOSTS), oldest)
        return bool(self._connection.run(redis_scripts.PUT_GPUS, *arguments))

    def gpus(self, now: float) -> list[ListedHost]:
        joined = self._connection.run(redis_scripts.GPUS, repr(now - MAX_REPORT_AGE_SECONDS))
        return current_hosts(redis_reports.gpus(_pairs(joined)), now)

    def drain(self, name: str, drained: bool, actor: Actor | None = None, handover: bool = False) -> Service | None:
        kind = event.drain_kind(drained, handover)
        drain_event = Event(time=self.now(), kind=kind, service=name, message=event.BY_OPERATOR)
        drain_event = drain_event.by(actor) if actor else drain_event
        result = self._connection.run(redis_scripts.DRAIN, name, drained + (drained and handover), _join(drain_event))
        if result is None:
            return None
        self._connection.revision.advance(result[3])
        self.event_counts.update([kind] * result[4])
        return _service(result[:3])

    def wait(self, known_revision: int, timeout: float) -> int:
        changed = self._connection.revision.changed  # read before the revision, so that no change is missed
        if self._revision() == known_revision:
            changed.wait(timeout)
        return self._revision()

    def wake(self) -> None:
        self._connection.wake()

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        """Add the events and return them with their ids. If Redis's answer is lost, they may be added twice."""
        last = self._connection.run(redis_scripts.ADD_EVENTS, _join(*events))
        self.event_counts.update(added.kind for added in events)
        self._connection.event_id.advance(last)
        return [replace(added, id=last - len(events) + number) for number, added in enumerate(events, 1)]

    def events(self, after: int, wait: float = 0, audit: bool = False) -> tuple[list[Event], int]:
        events, last = self._events(after, audit)
        event_id = self._connection.event_id
        event_id.advance(last)
        changed = event_id.changed  # read before the events are read again, so that none is missed
        if events or not wait:
            return events, last
        if event_id.value == last:
            changed.wait(wait)
        return self._events(after, audit)

    def share_reached(self, names: Collection[str], seconds: float) -> None:
        self._connection.run(redis_scripts.SHARE_REACHED, self._id, f"{seconds:g}", "\n".join(names))

    def reached_by_others(self) -> frozenset[str]:
        joined = self._connection.run(redis_scripts.REACHED_BY_OTHERS, self._id)
        return frozenset(joined.decode().split("\n")) if joined else frozenset()

    def check(self) -> None:
        self._connection.run(redis_scripts.CHECK, "1")

    def degradation(self) -> str:
        if not self._connection.failure or self._last_snapshot is None:
            return ""
        age = self._connection.now() - self._last_snapshot.at
        return f"{self._connection.unavailable().message}; the list is as of {age:.0f} s ago"

    def past_incident(self) -> str:
        return ""

    def now(self) -> float:
        return self._connection.now()

    def close(self) -> None:
        self._connection.close()

    def _events(self, after: int, audit: bool) -> tuple[list[Event], int]:
        last, *entries = self._connection.run(redis_scripts.EVENTS, after, int(audit))
        return sorted(map(_decode_event, entries), key=lambda stored: stored.id), last

    def _swap(
        self,
        name: str,
        record: Record,
        service: bytes,
        heartbeat: str,
        plain_heartbeat: str,
        raises_revision: int,
        events: Sequence[Event],
    ) -> Record | None:
        """Replace `record` and return None. If Redis has another record by now, do nothing and return that record."""
        replacement = (service, heartbeat, plain_heartbeat, raises_revision, _join(*events))
        result = self._connection.run(redis_scripts.SWAP, name, *record, *replacement)
        if not result[0]:
            current: Record = result[1:]
            return current
        self.event_counts.update(added.kind for added in events)
        self._connection.revision.advance(result[1])
        return None

    def _revision(self) -> int:
        """Return the latest revision that this process knows, or that of the last snapshot if Redis does not answer."""
        known = self._connection.revision.value
        return self.snapshot()[0] if known == UNKNOWN or self._connection.failure else known

    def _require_last_snapshot(self) -> RedisSnapshot:
        """Return the last snapshot; raise Unavailable if there is none."""
        if self._last_snapshot is None or self._connection.closed:
            raise self._connection.unavailable()
        return self._last_snapshot

    def _read_snapshot(self, last: RedisSnapshot | None) -> RedisSnapshot:
        script, writes = redis_scripts.SNAPSHOT, last.writes if last else b""
        revision, writes, heartbeats, *changed = self._connection.run(script, writes)
        if changed:
            records = _pairs(changed[0])
            drained, handovers = (frozenset(joined.split(b"\n")) for joined in changed[1:])
        else:
            assert last is not None
            records, drained, handovers = last.records, last.drained, last.handovers
        decoded, heartbeat_by_name = {}, _pairs(heartbeats)
        for name in sorted(records):
            mark = (1 + (name in handovers)) if name in drained else 0
            record = (records[name], heartbeat_by_name[name], mark)
            before = last.decoded.get(name) if last else None
            decoded[name] = before if before and before[0] == record else (record, _decode(record))
        return RedisSnapshot(self.now(), revision, writes, records, drained, handovers, decoded)


def _pairs(joined: bytes) -> dict[bytes, bytes]:
    parts = joined.split(b"\n") if joined else []
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _service(record: Record) -> Service | None:
    return _decode(record) if record[0] else None


def _decode(record: Record) -> Service:
    service, heartbeat, mark = record
    return _marked(replace(_decoder.decode(service), last_heartbeat=float(heartbeat)), mark)


def _marked(service: Service, mark: int) -> Service:
    return replace(service, drained=mark > 0, handover=mark > 1)


def _encode(service: Service) -> bytes:
    return msgspec.json.encode(_marked(replace(service, last_heartbeat=0.0), 0))


def _join(*events: Event) -> bytes:
    """Return one line for each event: its reporter and its JSON, without an id, because Redis assigns the ids."""
    return b"\n".join(event.reporter_of(added).encode() + b" " + msgspec.json.encode(added) for added in events)


def _decode_event(entry: bytes) -> Event:
    """Return the event in an entry of the list `events`, `reports` or `audit` (see redis_keys)."""
    number, _, rest = entry.partition(b" ")
    return replace(_event_decoder.decode(rest[rest.index(b"{") :]), id=int(number))


def _plain_heartbeat(service: Service) -> str:
    """Return the service's entry in `calm` (see redis_keys): its status and the digest of its owner.

    Return "" if every heartbeat of the service makes a visible change.
    """
    renewed = lease.after_heartbeat(service, service.last_heartbeat, None)
    return "" if lease.is_visible_change(service, renewed) else f"{service.status} {service.owner}"
