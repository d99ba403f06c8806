"""The registry's services as an operator reads them. Pure."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from svc.base.errors import CommandError, NotFound
from svc.protocol.health_state import BAD, GOOD, WARNING, level_of, state_of
from svc.protocol.instance_names import instance_service
from svc.protocol.service import INSTANCE_TYPE, listed_models
from svc.terminal.crop import crop
from svc.terminal.table import Line, duration, grid

Told = Mapping[str, Any]  # a service as the registry lists it
HEAD = ("NAME", "TYPE", "STATE", "HEARD", "ADDRESS")
WIDEST_ADDRESS = 30
WIDE = 200  # columns: more have room for any address
STYLES = {GOOD: "", WARNING: "yellow", BAD: "red"}
REQUIRED = {"name", "host", "port", "url", "status", "is_healthy", "drained"}  # which a router's list has not
TYPES = {INSTANCE_TYPE: "instance"}
SHOWN = ("url", "host", "hostname", "weight", "health_status", "lease_seconds", "timestamp")
LISTED = ("models_list",)  # metadata that is for programs


def type_of(service: Told) -> str:
    told = service.get("metadata", {}).get("type", "")
    return TYPES.get(told, told if isinstance(told, str) else "")


def registered(services: Sequence[Told], url: str) -> Sequence[Told]:
    """These, if a registry lists them so. A router has a list of the same name, whose words mean something else."""
    if not all(service.keys() >= REQUIRED for service in services):
        raise CommandError(f"{url} is no registry: it lists instances as a router does; give the registry's address")
    return services


def lines(services: Iterable[Told], now: float, width: int) -> list[Text]:
    """A table; what does not fit its column, and the models, stand below."""
    rows = []
    for service in services:
        address, models, state = f"{service['host']}:{service['port']}", listed_models(service), state_of(service)
        below = [address] if len(address) > WIDEST_ADDRESS and width <= WIDE else []
        cells = (service["name"], type_of(service), state, _age(service, now), "" if below else address)
        rows.append(Line(cells, STYLES[level_of(state)], below, models))
    return crop(grid(HEAD, rows, width), None)


def details(service: Told, now: float) -> Iterator[tuple[str, str]]:
    """All that is known of one, a line each."""
    yield "name", service["name"]
    yield "type", type_of(service)
    yield "state", state_of(service)
    yield "heard", f"{_age(service, now)} ago"
    for key in SHOWN:
        if service.get(key) not in (None, ""):
            yield key, str(service[key])
    for key, value in service.get("metadata", {}).items():
        if key not in ("type", *LISTED):
            yield key, value if isinstance(value, str) else json.dumps(value)


def changes(before: Mapping[str, Told], after: Mapping[str, Told]) -> Iterator[tuple[str, str]]:
    """What an operator would call a change between two lists: names, and what is new of them."""
    for name in sorted({*before, *after}):
        if name not in after:
            yield name, "removed"
        elif name not in before:
            yield name, f"registered: {state_of(after[name])}, {after[name]['url']}"
        else:
            told = "; ".join(_changed(_facts(before[name]), _facts(after[name])))
            if told:
                yield name, told


def known(name: str, services: Mapping[str, Told]) -> str:
    """The name, if it is one; raises NotFound with the one that may be meant."""
    if name in services:
        return name
    close = difflib.get_close_matches(name, services, 1)
    cure = f"did you mean {close[0]}?" if close else "`svc services list` shows those there are"
    raise NotFound(f"no service {name!r} is registered; {cure}", param="name", code="unknown_service")


def instance(name: str, services: Mapping[str, Told]) -> str:
    """The instance that a name means: itself, or the one that the babysitter of this name looks after."""
    own = instance_service(name)
    if name in services and type_of(services[name]) == "babysitter":
        told = services[name].get("metadata", {}).get("server")
        own = told if isinstance(told, str) and told else own
        if own not in services:
            raise NotFound(f"{name} is a babysitter whose instance, {own}, is not registered; wait until it is")
        return own
    return own if name not in services and own in services else known(name, services)


def _facts(service: Told) -> dict[str, Any]:
    metadata = {key: value for key, value in service.get("metadata", {}).items() if key not in LISTED}
    return {"": state_of(service), "url": service["url"], "weight": service.get("weight"), **metadata}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield f"{key}: {_word(before, key)} -> {_word(after, key)}".removeprefix(": ")


def _word(facts: Mapping[str, Any], key: str) -> str:
    value = facts.get(key)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _age(service: Told, now: float) -> str:
    return duration(max(0, int(now - service.get("last_heartbeat", now))))
