"""What a rollout looks at: supervisord here, the registry and the routers wherever they are."""

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

from svc.base.errors import CommandError, Unavailable
from svc.client import probe
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.rollout.observation import Scene
from svc.site import observe
from svc.site.components import Component
from svc.supervision.client import SupervisordClient


@dataclasses.dataclass(frozen=True, slots=True)
class Eyes:
    """`client` is None, or `routers` empty, where an operator lets a rollout do without them."""

    supervisord: SupervisordClient
    client: RegistryClient | None
    routers: tuple[str, ...]

    def scene(self, waited: Iterable[Component] = ()) -> Scene:
        """Now; `waited`: those that are asked whether they answer."""
        return Scene(
            time.monotonic(),
            self._services(),
            [RouterClient(url).instance_loads() for url in self.routers],
            {name: process.state for name, process in self.supervisord.processes().items()},
            {component.name for component in waited if probe.healthy(component.health_url, observe.PATIENCE)},
        )

    def answering(self) -> tuple[str, ...]:
        """The routers that do."""
        return tuple(url for url in self.routers if RouterClient(url).instance_loads() is not None)

    def refuse_blind(self) -> None:
        """Raises CommandError when a router does not answer."""
        for url in self.routers:
            if RouterClient(url).instance_loads() is None:
                raise CommandError(
                    f"the router does not answer at {url}: nobody can tell what is in flight; give its address with "
                    "--router-url, or go on without one with --allow-downtime"
                )

    def _services(self) -> dict[str, dict[str, Any]] | None:
        if self.client is None:
            return None
        try:
            return {service["name"]: service for service in self.client.services()}
        except Unavailable:
            return None
