"""The hang probe: at intervals, request a token from an idle instance, and restart an instance that generates none."""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable

from svc.babysitter import health_rules
from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad, ProbeOutcome
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.monitor import InstanceSnapshot, Monitor
from svc.babysitter.restarter import Restarter

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of the last probe round of the current process."""

    outcome: ProbeOutcome | None = None
    reason: str = ""
    at: float | None = None  # Unix seconds
    failures: int = 0  # number of failed rounds in a row


class HangProbe:
    """Probes the engine for hangs: call `run_round` every `probe_interval` seconds.

    `request_token` makes a model generate one token. `read_load` returns the load of the engine, from metrics that may
    have the given age; before a probe, they may be `page_age` seconds old.
    """

    def __init__(
        self,
        monitor: Monitor,
        request_token: Callable[[str], tuple[ProbeOutcome, str]],
        read_load: Callable[[float], EngineLoad],
        restarter: Restarter,
        clock: Callable[[], float] = time.time,
        page_age: float = 0.0,
    ) -> None:
        self.monitor = monitor
        self.request_token = request_token
        self.read_load = read_load
        self.restarter = restarter
        self.clock = clock
        self.page_age = page_age
        self.threshold = monitor.config.probe_threshold
        self.last = ProbeResult()
        self.in_progress = False  # whether a request for a token is in flight
        self.sent = 0  # number of requests for a token
        self.counts: Counter[ProbeOutcome] = Counter()
        self._process_stage: int | None = None
        self._load = UNKNOWN_LOAD

    def run_round(self) -> None:
        """Probe the engine once; do nothing until it has listed its models, because it may still be loading them."""
        snapshot = self.monitor.snapshot
        if snapshot.process_stage != self._process_stage:
            self._process_stage, self._load, self.last = snapshot.process_stage, UNKNOWN_LOAD, ProbeResult()
        if snapshot.state not in (LifecycleState.RUNNING, LifecycleState.HUNG):
            return
        outcome, reason = self._probe(snapshot)
        if self.monitor.snapshot.process_stage == snapshot.process_stage:
            self._conclude(snapshot, outcome, reason)

    def _probe(self, snapshot: InstanceSnapshot) -> tuple[ProbeOutcome, str]:
        before, self._load = self._load, self.read_load(self.page_age)
        if health_rules.generated_between(before, self._load):
            return ProbeOutcome.MOVED, ""
        before = self._load
        self.in_progress, self.sent = True, self.sent + 1
        try:
            outcome, reason = self.request_token(snapshot.models[0]["id"])
        finally:
            self.in_progress = False
        self._load = self.read_load(0.0)  # after the probe, so that the next round does not count the probe's tokens
        if outcome is ProbeOutcome.SILENT and health_rules.generated_between(before, self._load):
            return ProbeOutcome.BUSY, f"{reason}, but other requests moved"
        return outcome, reason

    def _conclude(self, snapshot: InstanceSnapshot, outcome: ProbeOutcome, reason: str) -> None:
        failures = health_rules.failures(self.last.failures, outcome)
        if outcome is ProbeOutcome.REFUSED and self.last.outcome is not outcome:
            log.warning(
                '%s: a probe shows nothing here: %s; cure that, or leave out probe = "generate"',
                self.monitor.config.name,
                reason,
            )
        self.last = ProbeResult(outcome, reason, self.clock(), failures)
        self.counts[outcome] += 1
        self.monitor.apply(LifecycleEvent.SILENT if failures else LifecycleEvent.GENERATES, snapshot.process_stage)
        if failures:
            log.warning("%s: probe %d of %d failed: %s", self.monitor.config.name, failures, self.threshold, reason)
        if failures >= self.threshold and snapshot.process is not None:
            self.restarter.restart(snapshot.process, "hung", f"{reason} ({failures} in a row)")
