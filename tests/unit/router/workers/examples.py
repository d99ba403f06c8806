"""Processes of a router to test with, all in the process of the test."""

import copy

import msgspec

from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.target import Target
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.statistics import Statistics
from svc.router.workers.messages import Observation, PublishedTable, Snapshot, encode
from svc.router.workers.relay_balancer import RelayBalancer
from svc.router.workers.shared_counts import SharedCounts
from svc.settings import RouterSettings
from tests.unit.router.examples import Clock


def process(counts: SharedCounts, slot: int) -> SharedCounts:
    """Return the counts as the process in this slot has them after a fork: the same memory, rows of its own."""
    own = copy.copy(counts)
    own.slot = slot
    for kind in ("_counts", "_common"):
        rows = copy.copy(getattr(counts, kind))
        rows._by_name, rows._numbers, rows._indexed = {}, {}, 0  # noqa: SLF001
        setattr(own, kind, rows)
    return own


def snapshot(*targets: Target, number: int = 1, unusable: tuple[str, ...] = (), **fields: object) -> Snapshot:
    """Return a snapshot of a table with these targets, of which some are not usable."""
    table = PublishedTable(targets, frozenset(target.name for target in targets) - set(unusable))
    return Snapshot(**{"ready": True, "table_number": number, "table": msgspec.Raw(encode(table)), **fields})


class RelayingProcess:
    """The balancer of a process that relays, and the observations that it has reported."""

    def __init__(self, counts: SharedCounts, slot: int, *targets: Target, **settings: object) -> None:
        self.counts, self.clock, self.observations = process(counts, slot), Clock(), list[Observation]()
        self.settings, statistics = RouterSettings(**settings), Statistics()
        health = HealthTracker(self.settings, self.clock, statistics, EventReporter(1))
        report = self.observations.append
        self.balancer = RelayBalancer(self.settings, self.clock, health, statistics, self.counts, report)
        self.balancer.adopt(snapshot(*targets))
