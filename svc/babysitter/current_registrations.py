"""The registrations that describe a babysitter and its instance now."""

import dataclasses
import logging
import socket
from collections.abc import Callable

from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.monitor import Monitor
from svc.babysitter.on_demand.on_demand_loop import OnDemand
from svc.babysitter.registration import Registration, registrations
from svc.babysitter.registration_host import RegistrationHost
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODEL_ID_LENGTH, MAX_MODELS

log = logging.getLogger(__name__)


class CurrentRegistrations:
    """A callable that returns the registrations. `on_demand` returns the loop of an instance on demand, or None."""

    def __init__(
        self,
        monitor: Monitor,
        continuation: ContinuationCheck,
        host: RegistrationHost,
        on_demand: Callable[[], OnDemand | None],
    ) -> None:
        self.monitor = monitor
        self.continuation = continuation
        self.host = host
        self.on_demand = on_demand
        self._hostname = socket.gethostname()
        self._models_warned_of = 0

    def __call__(self) -> list[Registration]:
        snapshot, on_demand = self.monitor.snapshot, self.on_demand()
        wanted = registrations(
            dataclasses.replace(self.monitor.config, host=self.host.value),
            snapshot.state,
            snapshot.models,
            self._hostname,
            snapshot.process,
            self.continuation.continues,
            self.continuation.continues_messages,
            on_demand.metadata() if on_demand else None,
        )
        registered = wanted[-1].fields["metadata"].get("models", snapshot.models)
        self._warn_of_models(len(snapshot.models), len(registered))
        return wanted

    def _warn_of_models(self, count: int, registered: int) -> None:
        """Warn, once for each `count`, if not all models are registered: routers find no instance for the others."""
        if registered < count != self._models_warned_of:
            self._models_warned_of = count
            log.warning(
                "%s: it has %d models, of which %d are registered: a registration may have %d, with ids of at most %d "
                "printable characters, and %d KB of metadata; spread the models over several instances",
                self.monitor.config.name,
                count,
                registered,
                MAX_MODELS,
                MAX_MODEL_ID_LENGTH,
                MAX_METADATA_BYTES >> 10,
            )
