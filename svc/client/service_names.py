"""Find the registered service to which a name on the command line refers. Pure."""

from collections.abc import Mapping
from typing import Any

from svc.base.errors import NotFound
from svc.base.similar_names import did_you_mean
from svc.protocol.instance_names import instance_service
from svc.protocol.service import BABYSITTER_TYPE

Services = Mapping[str, Mapping[str, Any]]  # name -> service as in the registry's list


def service_named(name: str, services: Services) -> str:
    """Return `name` if a service has this name; else raise NotFound, which suggests a similar name."""
    if name in services:
        return name
    cure = did_you_mean(name, services, "`svc services list` shows those there are")
    raise NotFound(f"no service {name!r} is registered; {cure}", param="name", code="unknown_service")


def instance_named(name: str, services: Services) -> str:
    """Return the name of the service to which `name` refers. The name of a babysitter refers to its instance."""
    own = instance_service(name)
    if name in services and services[name].get("metadata", {}).get("type") == BABYSITTER_TYPE:
        server = services[name].get("metadata", {}).get("server")
        own = server if isinstance(server, str) and server else own
        if own not in services:
            raise NotFound(f"{name} is a babysitter whose instance, {own}, is not registered; wait until it is")
        return own
    return own if name not in services and own in services else service_named(name, services)


def possible_services(name: str) -> frozenset[str]:
    """Return the names of all services, registered or not, to which `name` may refer; an empty set for an empty `name`.

    NAME refers to the services NAME and NAME-server, because an instance and its babysitter have these names.
    NAME:server refers to the instance only, NAME:babysitter to the babysitter only.
    """
    base, colon, program = name.partition(":")
    if colon and program in ("server", "babysitter"):
        return frozenset([instance_service(base) if program == "server" else base])
    return frozenset([name, instance_service(name)]) if name else frozenset()
