"""Which registered service a name on the command line means. Pure."""

import difflib
from collections.abc import Mapping
from typing import Any

from svc.base.errors import NotFound
from svc.protocol.instance_names import instance_service
from svc.protocol.service import BABYSITTER_TYPE

Services = Mapping[str, Mapping[str, Any]]  # by name, as the registry lists them


def service_named(name: str, services: Services) -> str:
    """Return the name if a service has it; raise NotFound that suggests a similar one."""
    if name in services:
        return name
    close = difflib.get_close_matches(name, services, 1)
    cure = f"did you mean {close[0]}?" if close else "`svc services list` shows those there are"
    raise NotFound(f"no service {name!r} is registered; {cure}", param="name", code="unknown_service")


def instance_named(name: str, services: Services) -> str:
    """Return the instance of this name, or the one that the babysitter of this name looks after."""
    own = instance_service(name)
    if name in services and services[name].get("metadata", {}).get("type") == BABYSITTER_TYPE:
        server = services[name].get("metadata", {}).get("server")
        own = server if isinstance(server, str) and server else own
        if own not in services:
            raise NotFound(f"{name} is a babysitter whose instance, {own}, is not registered; wait until it is")
        return own
    return own if name not in services and own in services else service_named(name, services)


def services_meant(name: str) -> frozenset[str]:
    """Return the services that a name may mean, registered or not; none for an empty name.

    NAME means a service of that name and the instance of a babysitter of that name; NAME:server and
    NAME:babysitter mean one of these.
    """
    base, colon, program = name.partition(":")
    if colon and program in ("server", "babysitter"):
        return frozenset([instance_service(base) if program == "server" else base])
    return frozenset([name, instance_service(name)]) if name else frozenset()
