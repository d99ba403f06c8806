"""Builds the babysitter's parts for an instance on demand or with GPUs, if supervisord runs the instance."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.engine_load import EngineLoadReader
from svc.babysitter.engine_status import Readiness
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.monitor import Monitor
from svc.babysitter.on_demand.activity import Activity
from svc.babysitter.on_demand.engine_sleep import EngineSleep, Request
from svc.babysitter.on_demand.expected_models import command_digest, expected_models
from svc.babysitter.on_demand.fact_collector import FactCollector
from svc.babysitter.on_demand.host_memory import HostMemory, memory_tool
from svc.babysitter.on_demand.last_models import LastLife, LastModelsFile
from svc.babysitter.on_demand.on_demand_loop import Effects, OnDemand
from svc.babysitter.on_demand.sleep_history import SleepHistory
from svc.base.gpus.reading import TOOLS, GpuReader
from svc.config.instance.model import InstanceConfig
from svc.protocol.instance_names import instance_service, server_program
from svc.protocol.resources import SLEEP_BY_VLLM
from svc.supervision.client import SupervisordClient
from svc.supervision.on_demand.on_demand_client import OnDemandClient

log = logging.getLogger(__name__)
Check = Callable[[str, float], Readiness]


class Assembly:
    """The parts that exist before the monitor, because it needs them; `build` then makes the loop.

    `directory` is the site's state directory. `request` sends a request to the engine, which answers at one of `urls`.
    """

    def __init__(self, config: InstanceConfig, directory: Path, urls: Sequence[str], request: Request) -> None:
        self.config = config
        self._file = LastModelsFile(directory / f"{config.name}.models.json")
        self._last = self._file.read() if config.on_demand else LastLife()
        self._history = SleepHistory(instance_service(config.name), time.monotonic, time.time, self._last.load_seconds)
        sleeps_itself = config.on_demand and config.sleep == SLEEP_BY_VLLM
        self._engine = EngineSleep(urls, request) if sleeps_itself else None
        self._loop: OnDemand | None = None

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models that the instance will probably have when it runs; [] for one that is not on demand."""
        return list(expected_models(self.config, self._last)) if self.config.on_demand else []

    def check(self, check: Check) -> Check:
        """Return the readiness check; for an engine with a sleep mode, one that first asks the engine if it sleeps."""
        return self._engine.before(check) if self._engine else check

    def observe(self, before: LifecycleState, event: LifecycleEvent, after: LifecycleState) -> None:
        """Pass an event of the lifecycle to the loop."""
        if self._loop is not None:
            self._loop.observe(before, event, after)

    def build(
        self,
        monitor: Monitor,
        reader: EngineLoadReader,
        probes: tuple[HangProbe, ContinuationCheck],
        server_url: str,
        is_draining_known: Callable[[], bool],
        poll_process: Callable[[], None],
        ring: Callable[[], None],
    ) -> OnDemand:
        """Return the loop of the instance, which the supervisord at `server_url` runs.

        The other arguments are described in `FactCollector` and `Effects`.
        """
        program, supervisord = server_program(self.config.name), SupervisordClient(server_url)
        effects = Effects(lambda: supervisord.stop(program, wait=False), poll_process, self._keep_models, ring)

        def sent_probes() -> tuple[int, bool]:
            return sum(probe.sent for probe in probes), any(probe.in_progress for probe in probes)

        activity = Activity(reader, sent_probes, time.monotonic)
        memory = HostMemory(GpuReader([memory_tool(tool) for tool in TOOLS]).read)
        facts = FactCollector(self.config, activity, self._history, memory, is_draining_known, time.monotonic)
        self._loop = OnDemand(monitor, OnDemandClient(server_url), facts, memory, self._engine, effects)
        if self.config.on_demand and not self.models:
            log.warning(
                "%s: its models are not known before it has run once, so no request wakes it; "
                "run `svc wake %s`, or name them: [metadata] models",
                self.config.name,
                self.config.name,
            )
        return self._loop

    def _keep_models(self, models: tuple[dict[str, Any], ...]) -> None:
        if self.config.on_demand:
            self._file.write(LastLife(models, self._history.load_seconds, command_digest(self.config)))
