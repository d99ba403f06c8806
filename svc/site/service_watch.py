"""`svc services`: reads the registry's list of services, and prints its changes as they happen."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from svc.base.signals import KeptInterrupt
from svc.client.registry import RegistryClient, ServiceList
from svc.client.registry_watch import RegistryWatch
from svc.protocol.health_state import state_of
from svc.site.access import RegistryUnreachable, explaining_errors
from svc.terminal.output import echo, echo_json
from svc.terminal.services_table import require_registry_list, service_changes

NOT_FOUND = "is no registry"

Services = Mapping[str, Mapping[str, Any]]


def services_by_name(service_list: ServiceList) -> dict[str, Mapping[str, Any]]:
    """Return a dict from names to the services in a registry's list; raise CommandError if a router sent the list."""
    return {service["name"]: service for service in require_registry_list(service_list.services, service_list.url)}


def watch(client: RegistryClient, as_json: bool) -> NoReturn:
    """Print a line for each service, then a line for each change, until the command is interrupted.

    If no registry answers at the start, raise CommandError; if none answers later, wait until one answers again.
    """
    with KeptInterrupt() as interrupt:
        registry_watch = RegistryWatch(client)
        before: Services | None = None
        unreachable = False
        while True:
            try:
                with explaining_errors("watch the services", client, NOT_FOUND):
                    services = services_by_name(registry_watch.next_list())
            except RegistryUnreachable as error:
                if before is None:
                    raise
                if not unreachable:
                    echo(f"svc: {error.message}; trying again", err=True)
                unreachable = True
            else:
                if unreachable:
                    echo("svc: the registry is back", err=True)
                unreachable = False
                _print_changes(before, services, as_json)
                before = services
            interrupt.sleep(registry_watch.pause)


def changes_since(before: Services | None, services: Services) -> Iterator[tuple[str, str]]:
    """Yield a service's name and a text for each change. If `before` is None, yield all services with their states."""
    if before is None:
        yield from ((name, f"{state_of(s)}, {s['url']}") for name, s in sorted(services.items()))
    else:
        yield from service_changes(before, services)


def _print_changes(before: Services | None, services: Services, as_json: bool) -> None:
    now = time.strftime("%H:%M:%S")
    for name, change in changes_since(before, services):
        if as_json:
            echo_json({"time": time.time(), "name": name, "change": change, "service": services.get(name)})
        else:
            echo(f"{now}  {name}  {change}")
