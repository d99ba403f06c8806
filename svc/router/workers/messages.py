"""The messages between the processes of a router, as msgpack.

A process that relays opens three kinds of channels to the control process:

    "updates"   --> WorkerReport  what it has observed and counted since the last one, ten times a second at most,
                                  and at once if an observation may change an instance's health
                <-- Snapshot      everything that relaying needs; a new one whenever something has changed
                <-- Sync          asks for a report at once, which shows that all snapshots before it are in use
    "request"   --> OwnRequest    one request for the router's own endpoints (/stats, /ui, /metrics)
                <-- OwnResponse, then, of an event stream, its parts as bytes until the channel ends
    "sync"      <-- true          once every process uses what this one has reported
"""

import enum
from collections import defaultdict
from typing import Any

import msgspec

from svc.config.router_key_entry import KeyEntry
from svc.router.balance.target import Target
from svc.router.balance.wakes import WakeState
from svc.router.balance.work import EMPTY_VIEW, EngineView
from svc.router.proxy.poison_list import PoisonedBody
from svc.router.telemetry.statistics import Histogram, InstanceStatistics, ModelStatistics, Statistics
from svc.router.usage.usage_sums import UsageEntry

KeyEntries = dict[str, KeyEntry]
EMPTY_MAP = msgspec.Raw(b"\x80")


class Evidence(enum.IntEnum):
    """What an attempt at an instance has shown."""

    FAILURE = 0
    SERVER_ERROR = 1
    SUCCESS = 2
    NOTHING = 3
    TRIAL_BEGUN = 4
    RESPONSE_BEGUN = 5


class Observation(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt has shown about an instance. `reason`: how it failed."""

    evidence: Evidence
    instance: str
    reason: str = ""


class WorkerReport(msgspec.Struct, kw_only=True):
    """What a process has observed and counted since its last report."""

    slot: int
    sync: int = 0  # the number of the last Sync that was received
    observations: list[Observation] = []
    events: list[tuple[str, str, str]] = []  # kind, instance and message, for the registry
    poisoned: list[PoisonedBody] = []
    poison_counts: dict[str, int] = {}  # API key -> requests that killed two instances
    retries: int = 0
    unlisted_model_requested: bool = False
    statistics: Statistics | None = None
    usage: list[UsageEntry] = []  # for the ledger
    idle_connections: int = 0  # the number at present
    handovers: list[tuple[str, str, int]] = []  # `RouterState.handovers` at present, as triples


class PublishedTable(msgspec.Struct, frozen=True):
    """The routing table: every instance, and the names of those that get requests."""

    targets: tuple[Target, ...] = ()
    usable: frozenset[str] = frozenset()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the control process has decided: which instances get requests, and who may send them."""

    ready: bool = False  # whether there is a table
    table_number: int = 0  # a new number for each new table
    table: msgspec.Raw = msgspec.Raw()  # an encoded PublishedTable; decoded only if its number is new
    trials: dict[str, int] = {}  # ejected instance whose trial is due -> number of the trial
    keys_number: int = 0  # a new number for each change of the API keys; 0: clients need none
    keys: msgspec.Raw = EMPTY_MAP  # the encoded KeyEntries; decoded only if their number is new: 10,000 take 20 ms
    poisoned: tuple[PoisonedBody, ...] = ()
    view: EngineView = EMPTY_VIEW  # what follows from the engines' loads
    retry_after: int = 1  # seconds after which an instance may be free
    wakes: dict[str, WakeState] = {}  # model that is asleep -> why none of its instances is awake yet


class Sync(msgspec.Struct, frozen=True, tag=True):
    """A request for a report. The numbers ascend."""

    number: int


class OwnRequest(msgspec.Struct, frozen=True):
    """A request for one of the router's own endpoints, as the variables of its WSGI environment."""

    variables: dict[str, str]
    body: bytes


class OwnResponse(msgspec.Struct, frozen=True):
    """The response. `streams`: it is an event stream, whose parts follow."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    streams: bool = False


def encode(message: Any) -> bytes:
    return msgspec.msgpack.encode(message, enc_hook=_fields_of)


def decode(data: bytes, kind: Any) -> Any:
    """Return the message of this kind, a type or a union of types; raise msgspec.ValidationError."""
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_with_fields)


def _fields_of(counts: Any) -> Any:
    """Return the fields of an object that msgspec does not know: the counts in `telemetry/statistics.py`."""
    return {name: getattr(counts, name) for name in counts.__slots__}


def _with_fields(kind: type[Any], fields: Any) -> Any:
    """Return a new object of this kind with these fields. Fill its histograms and dicts, to keep their types."""
    if kind not in (Statistics, InstanceStatistics, ModelStatistics):
        raise NotImplementedError(kind)
    counts = kind()
    for name, value in fields.items():
        present = getattr(counts, name)
        if isinstance(present, Histogram):
            present.counts, present.sum = value["counts"], value["sum"]
        elif isinstance(present, defaultdict) and isinstance(present.default_factory, type):
            factory = present.default_factory
            present.update({k: v if factory is int else _with_fields(factory, v) for k, v in value.items()})
        else:
            setattr(counts, name, value)
    return counts
