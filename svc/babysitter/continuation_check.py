"""The continuation check: probes the engine after each start, so that routers know whether it continues answers."""

import logging
from collections.abc import Callable

from svc.babysitter.continuation_probe import Verdict
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.monitor import Monitor
from svc.protocol.service import CONTINUES

log = logging.getLogger(__name__)
MAX_PROBES = 2
RETRY_SECONDS = 10.0


class ContinuationCheck:
    """Probes each new process of the engine: call `run_round` often.

    `send` probes the engine with a model. No probe is sent while `is_busy()` is true, nor if the TOML disables the
    probe or has its result in [metadata]. The verdict only sets fields of the instance's registration.
    """

    def __init__(self, monitor: Monitor, send: Callable[[str], Verdict], is_busy: Callable[[], bool]) -> None:
        self.monitor = monitor
        self.send = send
        self.is_busy = is_busy
        self.configured: bool | None = monitor.config.metadata.get(CONTINUES)
        self.enabled = monitor.config.continuation_probe and self.configured is None
        self.in_progress = False  # whether a probe is in flight
        self.sent = 0  # number of probes
        self._process_stage: int | None = None
        self._verdict: Verdict | None = None  # the verdict of the last probe in `_process_stage`
        self._probes = 0

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the current process of the engine; None until its first probe has ended."""
        return self._verdict if self._process_stage == self.monitor.snapshot.process_stage else None

    @property
    def continues(self) -> bool | None:
        """Whether the engine continues answers, by the probe or the TOML; None if neither has a result."""
        verdict = self.verdict
        return verdict.continues if verdict else self.configured

    @property
    def continues_messages(self) -> bool:
        """Whether the engine is proven to continue answers on /v1/messages."""
        return bool(self.verdict and self.verdict.continues_messages)

    def run_round(self) -> float | None:
        """Probe the engine if it runs and has no final verdict.

        Return the seconds until the probe is to be repeated, or None.
        """
        snapshot = self.monitor.snapshot
        if snapshot.process_stage != self._process_stage:
            self._process_stage, self._verdict, self._probes = snapshot.process_stage, None, 0
        if not self.enabled or snapshot.state is not LifecycleState.RUNNING or self.is_busy():
            return None
        if self._probes == MAX_PROBES or (self._verdict is not None and self._verdict.final):
            return None
        self._probes += 1
        self.in_progress, self.sent = True, self.sent + 1
        try:
            verdict = self.send(snapshot.models[0]["id"])
        finally:
            self.in_progress = False
        if self.monitor.snapshot.process_stage != snapshot.process_stage:
            return None
        self._verdict = verdict
        if verdict.final or self._probes == MAX_PROBES:
            self._log(verdict)
            return None
        return RETRY_SECONDS

    def _log(self, verdict: Verdict) -> None:
        name = self.monitor.config.name
        if verdict.continues:
            log.info("%s: its engine continues answers that another instance has begun", name)
        else:
            log.info("%s: its engine does not continue answers that others have begun: %s", name, verdict.reason)
