"""The state of the control process: the counts of all processes, and what it decides for them."""

import itertools
import threading
import time
from collections import Counter
from typing import Any

import msgspec

from svc.protocol.instance_load import ListedLoad
from svc.router.balance.routing_table import RoutingTable
from svc.router.state import RouterState
from svc.router.workers.control_balancer import ControlBalancer
from svc.router.workers.messages import EMPTY_MAP, Evidence, KeyEntries, PublishedTable, Snapshot, WorkerReport, encode
from svc.router.workers.shared_counts import SharedCounts


class ControlState(RouterState):
    """The state of the control process: counts and gauges are those of all processes."""

    def __init__(self, *args: Any, counts: SharedCounts, **kwargs: Any) -> None:
        self.changed = threading.Event()  # set when the snapshot has changed
        super().__init__(*args, **kwargs)
        if self.keys is not None:
            self.keys.on_replaced = self.changed.set
        self._table: RoutingTable | None = None  # the table that was encoded last
        self._encoded_table = msgspec.Raw()
        self._table_number = 0
        self._key_entries: KeyEntries | None = None  # the API keys that were encoded last
        self._encoded_keys, self._keys_number = EMPTY_MAP, 0
        self._numbers = itertools.count(time.time_ns())  # higher than those of an earlier control process
        self.users = counts.users
        self._body_bytes = counts.row("body bytes")
        self.reports: dict[int, WorkerReport] = {}  # slot -> the last report of its process
        self.balancer = self.control = ControlBalancer(
            self.settings, self.clock, self.health, self.statistics, counts, self.changed.set
        )

    @property
    def ready(self) -> bool:
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        self.changed.set()

    def idle_connections(self) -> int:
        return sum(report.idle_connections for report in self.reports.values())

    def handover_counts(self) -> dict[tuple[str, str], int]:
        counts = Counter[tuple[str, str]]()
        for report in self.reports.values():
            for instance, reason, number in report.handovers:
                counts[instance, reason] += number
        return counts

    def buffered_bytes(self) -> int:
        return sum(self._body_bytes)

    def record(self, report: WorkerReport, trials: set[str]) -> None:
        """Add what a process has counted and observed. `trials`: the instances whose trial is in flight there."""
        self.reports[report.slot] = report
        if report.statistics is not None:
            self.statistics.add(report.statistics)
        if self.usage is not None:
            self.usage.add(report.usage)
        for key, count in report.poison_counts.items():
            self.poison_counts[key] += count
        self.balancer.retries += report.retries
        self.balancer.unlisted_model_requested |= report.unlisted_model_requested
        for kind, name, message in report.events:
            self.event_reporter.add(kind, name, message)
        if report.poisoned:
            entries = [*self.poison.entries.values(), *report.poisoned]
            self.poison.replace(sorted(entries, key=lambda entry: entry.expires))
            self.changed.set()
        for observation in report.observations:
            if observation.evidence is Evidence.TRIAL_BEGUN:
                trials.add(observation.instance)
            else:
                trials.discard(observation.instance)
            self.control.observe(observation)

    def set_loads(self, loads: dict[str, ListedLoad], own_requests: dict[str, int]) -> None:
        before = self.control.work.view
        super().set_loads(loads, own_requests)
        if self.control.work.view != before:
            self.changed.set()

    def snapshot(self) -> Snapshot:
        balancer, keys = self.control, self.keys
        if self._table is not balancer.table:
            self._table, self._table_number = balancer.table, next(self._numbers)
            table = PublishedTable(self._table.targets, self._table.candidates)
            self._encoded_table = msgspec.Raw(encode(table))
        if keys is not None and self._key_entries is not keys.entries:
            self._key_entries, self._keys_number = keys.entries, next(self._numbers)
            self._encoded_keys = msgspec.Raw(encode(keys.entries))
        return Snapshot(
            ready=self.ready,
            table_number=self._table_number,
            table=self._encoded_table,
            trials=balancer.trials(),
            keys_number=self._keys_number,
            keys=self._encoded_keys,
            poisoned=tuple(self.poison.entries.values()),
            view=balancer.work.view,
            retry_after=self.statistics.retry_after(),
            wakes=dict(balancer.wakes.states),
        )
