"""The facts from which a site's status is computed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from svc.site.components import Component
from svc.site.readiness import NotReady
from svc.site.systemd_unit import SystemdUnit
from svc.supervision.client import Process, Restarts

Services = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class SiteSnapshot:
    """The state of supervisord, the registry, the router and the babysitters at one moment.

    `registry` and `router` map names to the services in the list of the registry or the router; None if it does not
    answer. The next three map names of components to reasons: `not_ready`, why a component is not ready; `refused`, why
    the registry refuses it; `unusable_keys`, why a failed component cannot use a file of keys. `unapplied_keys` is the
    configured file of API keys if the running router does not use it yet, else ""; `invalid_keys` is the problem with
    this file if the running router cannot reload it, else "".
    """

    components: Sequence[Component]
    supervisord: int | None = None  # supervisord's pid; None: it does not run
    unit: SystemdUnit | None = None  # the systemd unit that runs the site, or would start it
    processes: Mapping[str, Process] = dataclasses.field(default_factory=dict)
    restarts: Mapping[str, Restarts] = dataclasses.field(default_factory=dict)
    not_ready: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)
    refused: Mapping[str, NotReady] = dataclasses.field(default_factory=dict)
    unusable_keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unapplied_keys: str = ""
    invalid_keys: str = ""
    registry: Services | None = None
    registry_url: str = ""
    registry_trouble: str = ""  # the problem that the registry reports about itself
    router: Services | None = None
    routing: bool = False  # whether the router reports that it is ready
