"""What the arbiter remembers of a program: its babysitter's facts, its process, and how its starts went. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

from svc.supervision.on_demand.host import DEFAULT_LOAD_SECONDS, Instance, Phase
from svc.supervision.on_demand.instance_facts import InstanceFacts
from svc.supervision.on_demand.life import Life
from svc.supervision.on_demand.plan import InstanceDecision
from svc.supervision.on_demand.program import Program
from svc.supervision.restart_limits import RESTART_NOTE

FACTS_VALID_SECONDS = 5.0  # older facts mean that the babysitter is gone
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 10.0, 300.0  # before the next start of an instance that failed to load
PROVEN_SECONDS = 60.0  # once an instance has been awake for so long, its earlier failures to load are forgotten


class ProgramState(NamedTuple):
    """A program with its state in supervisord. `reason` says why its last process ended; `pid` is 0 without one."""

    program: Program
    state: Literal["stopped", "running", "restarting", "stopping", "failed"] = "stopped"
    pid: int = 0
    reason: str = ""


Processes = Mapping[str, ProgramState]


@dataclasses.dataclass(slots=True)
class Record:
    """What the arbiter remembers of a program. Times are monotonic seconds."""

    facts: InstanceFacts | None = None
    facts_at: float = 0.0
    life: Life | None = None
    gpus: tuple[int, ...] = ()  # chosen for a program that needs a number of any GPUs
    state: str = "stopped"
    wanted_since: float | None = None
    measuring_since: float | None = None
    load_seconds: float | None = None
    failures: int = 0  # starts in a row that have failed; the restarts after a failed start do not count
    retries: bool = False  # whether supervisord restarts it after a failed start
    failed_at: float = 0.0
    failure: str = ""
    releasing_for: str = ""
    use_share: float = 0.0  # the program's share of the last uses on the host; see `arbiter`
    active_at: float | None = None  # when it last had requests
    decision: InstanceDecision = InstanceDecision("stay")
    decision_since: float = 0.0

    def observe(self, process: ProgramState, now: float) -> tuple[int, ...]:
        """Record the state of the process; if one has ended since the last call, return its GPUs, else ()."""
        left: tuple[int, ...] = ()
        failed = process.state == "failed" and self.state != "failed"
        if self.life and self.life.pid != process.pid:
            failed = failed or (self.life.mode == "loading" and process.state == "restarting")
            left = process.program.gpus or self.gpus
            if self.life.mode == "awake" and process.state == "stopped":  # it was put to sleep, so it has loaded well
                self.failures, self.failure = 0, ""
            self.life, self.releasing_for = None, ""
        if failed:
            self._fail(process.reason, now)
        if process.pid and self.life is None:
            self.life = Life(process.pid, now)
        if self.life and self.life.mode == "awake" and now - self.life.since >= PROVEN_SECONDS:
            self.failures, self.failure = 0, ""
        self.retries = (self.retries or failed) and process.state in ("running", "restarting")
        if process.state in ("stopped", "failed"):
            self.gpus = ()
        self.state = process.state
        return left

    def report(self, facts: InstanceFacts, process: ProgramState, now: float) -> bool:
        """Record the facts; return whether a new use of the instance begins, that is, it has requests after a pause."""
        self.facts, self.facts_at = facts, now
        if self.life:
            self.load_seconds = self.life.report(facts, process.program.sleeps_running, now) or self.load_seconds
            self.retries = self.retries and self.life.mode != "awake"
        if facts.gpus is not None:
            self.measuring_since = None
        instance = self.instance(process, now)
        if not instance.is_wanted or instance.phase in ("awake", "loading"):
            self.wanted_since = None
        elif self.wanted_since is None:
            self.wanted_since = now
        if not instance.queue:
            return False
        is_new = self.active_at is None or now - self.active_at > instance.load_seconds
        self.active_at = now
        return is_new

    def obey(self, decision: InstanceDecision, now: float) -> None:
        """Record the decision: an order that the babysitter gets, or the start of the program."""
        if decision.action != self.decision.action:
            self.decision_since = now
        self.decision = decision
        if decision.action != "measure":
            self.measuring_since = None
        elif self.measuring_since is None:
            self.measuring_since = now
        if decision.action == "start":
            self.gpus = decision.gpus
        if decision.action == "wake" and self.life:
            self.life.wake(now)

    def phase(self, process: ProgramState) -> Phase:
        """Return the phase of the program."""
        if process.state in ("stopping", "restarting"):
            return process.state
        if self.life is None:
            return "stopped"
        return self.life.mode if process.program.on_demand else "awake"

    def instance(self, process: ProgramState, now: float) -> Instance:
        """Return the Instance that describes the program to the functions that decide."""
        phase = self.phase(process)
        is_fresh = self.facts is not None and now - self.facts_at <= FACTS_VALID_SECONDS
        facts = self.facts if is_fresh else None
        return Instance(
            process.program,
            phase,
            facts,
            gpus=process.program.gpus or self.gpus,
            wanted_seconds=_elapsed(self.wanted_since, now),
            phase_seconds=now - self.life.since if self.life else 0.0,
            load_seconds=self._load_seconds(facts),
            pause_seconds=self._pause_seconds(now) if phase == "stopped" else 0.0,
            failure=self.failure if phase == "restarting" else self.failure.partition(RESTART_NOTE)[0],
            releasing_for=self.releasing_for,
            use_share=self.use_share,
            measuring_seconds=_elapsed(self.measuring_since, now),
        )

    def _fail(self, reason: str, now: float) -> None:
        self.failures += not self.retries
        self.failed_at, self.failure = now, f"it failed to load: {reason}" if reason else "it failed to load"

    def _pause_seconds(self, now: float) -> float:
        if not self.failures:
            return 0.0
        delay = min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2 ** min(self.failures - 1, 10))
        return max(0.0, self.failed_at + delay - now)

    def _load_seconds(self, facts: InstanceFacts | None) -> float:
        if facts and facts.load_seconds is not None:
            return facts.load_seconds
        return DEFAULT_LOAD_SECONDS if self.load_seconds is None else self.load_seconds


def _elapsed(since: float | None, now: float) -> float:
    return 0.0 if since is None else now - since
