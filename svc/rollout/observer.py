"""Observes supervisord on this host, and the registry and the routers on any host, for a rollout."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

from svc.base.errors import CommandError, Unavailable
from svc.client import probe
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.rollout.observation import RolloutObservation
from svc.site import observe
from svc.site.components import Component
from svc.supervision.client import SupervisordClient


@dataclasses.dataclass(frozen=True, slots=True)
class Observer:
    """Makes observations for a rollout.

    If the operator allows a rollout without registry or routers, `registry` may be None and `router_urls` empty.
    """

    supervisord: SupervisordClient
    registry: RegistryClient | None
    router_urls: tuple[str, ...]
    clock: Callable[[], float] = time.monotonic

    def observe(self, awaited: Iterable[Component] = ()) -> RolloutObservation:
        """Return an observation of this moment, with the health that the babysitters of `awaited` instances report."""
        routers = [RouterClient(url).requests_in_flight() for url in self.router_urls]
        return RolloutObservation(
            self.clock(),
            self._services(),
            [router and router.loads for router in routers],
            {name: process.state for name, process in self.supervisord.processes().items()},
            {
                component.name
                for component in awaited
                if probe.is_healthy(component.health_url, observe.HTTP_TIMEOUT_SECONDS)
            },
            [router.handovers for router in routers if router],
        )

    def answering_routers(self) -> tuple[str, ...]:
        return tuple(url for url in self.router_urls if RouterClient(url).instance_loads() is not None)

    def require_routers(self) -> None:
        """Raise CommandError if a router does not answer."""
        for url in self.router_urls:
            if RouterClient(url).instance_loads() is None:
                raise CommandError(
                    f"the router does not answer at {url}, so its requests in flight are unknown; give its address "
                    "with --router-url, or go on without one with --allow-downtime"
                )

    def _services(self) -> dict[str, dict[str, Any]] | None:
        if self.registry is None:
            return None
        try:
            return {service["name"]: service for service in self.registry.services()}
        except Unavailable:
            return None
