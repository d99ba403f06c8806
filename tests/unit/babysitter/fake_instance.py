"""A monitor of one instance whose process, engine and clock the test sets."""

from typing import Any

from svc.babysitter.engine_status import NO_ANSWER, EngineStatus, Readiness
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import Action, LifecycleState
from svc.babysitter.monitor import Monitor
from svc.config.instance.model import InstanceConfig
from tests.unit.instance_configs import instance_config


class FakeInstance:
    """`process` and `models` are what the next poll and check report; `during_check` runs inside the check.

    `options` are those of the Monitor, and `config` replaces its configuration.
    """

    def __init__(self, config: InstanceConfig | None = None, **options: Any) -> None:
        self.process: ProcessSnapshot | None = ProcessSnapshot("RUNNING", 7)
        self.models: list[dict[str, Any]] = []
        self.reason = NO_ANSWER  # why the engine is not ready while it has no models
        self.sleeping = False
        self.now, self.checks, self.actions = 0.0, 0, []
        self.during_check = lambda: None
        engine_status = EngineStatus(["http://here"], self.check, clock=lambda: self.now)
        effects = {action: lambda action=action: self.actions.append(action.name) for action in Action}
        config = config or instance_config()
        options = {"now": lambda: self.now} | options
        self.monitor = Monitor(config, self, engine_status, effects, clock=lambda: self.now, **options)

    def poll(self) -> ProcessSnapshot | None:
        return self.process

    def check(self, url: str, timeout: float) -> Readiness:
        self.checks += 1
        readiness = Readiness(list(self.models), "" if self.models else self.reason)
        if self.sleeping:
            readiness = Readiness(reason="it sleeps", sleeping=True)
        self.during_check()
        return readiness

    def advance(self, seconds: float = 0.5) -> LifecycleState:
        """Let time pass, poll the process and check the engine once; return the state."""
        self.now += seconds
        self.actions.clear()
        self.monitor.poll_process()
        self.monitor.check_engine()
        return self.monitor.snapshot.state


def models(*names: str) -> list[dict[str, Any]]:
    """Return models that differ from an equal list only in `created`, as vLLM's do."""
    return [{"id": name, "created": object()} for name in names]
