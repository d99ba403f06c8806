"""Formats the registry's services as a table, one service in detail, and changes between two lists. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from svc.base.errors import CommandError
from svc.protocol.health_state import BAD, GOOD, INFO, WARNING, level_of, state_of
from svc.protocol.service import INSTANCE_TYPE, listed_models
from svc.terminal.table import TableRow, crop, duration, table_blocks

Service = Mapping[str, Any]  # an entry of the registry's list
HEAD = ("NAME", "TYPE", "STATE", "HEARD", "ADDRESS")
MAX_ADDRESS_COLUMNS = 30
WIDE_COLUMNS = 200  # a wider terminal has room for any address
STYLES = {GOOD: "", INFO: "dim", WARNING: "yellow", BAD: "red"}
REGISTRY_FIELDS = {"name", "host", "port", "url", "status", "is_healthy"}  # a router's list lacks some of these
TYPE_NAMES = {INSTANCE_TYPE: "instance"}
DETAIL_FIELDS = ("url", "host", "hostname", "weight", "health_status", "lease_seconds", "timestamp")
HIDDEN_METADATA = ("models_list",)  # meant for programs, not for people


def type_of(service: Service) -> str:
    """Return the type of a service as it is shown to people."""
    kind = service.get("metadata", {}).get("type", "")
    return TYPE_NAMES.get(kind, kind if isinstance(kind, str) else "")


def require_registry_list(services: Sequence[Service], url: str) -> Sequence[Service]:
    """Return the services unchanged; raise CommandError if they come from a router, whose list has other fields."""
    if not all(service.keys() >= REGISTRY_FIELDS for service in services):
        raise CommandError(f"{url} is no registry: it lists instances as a router does; give the registry's address")
    return services


def service_lines(services: Iterable[Service], now: float, width: int) -> list[Text]:
    """Return the lines of the table. Models, and an address that is too long, are on lines below their service."""
    rows = []
    for service in services:
        address, models, state = f"{service['host']}:{service['port']}", listed_models(service), state_of(service)
        below = [address] if len(address) > MAX_ADDRESS_COLUMNS and width <= WIDE_COLUMNS else []
        cells = (service["name"], type_of(service), state, _age(service, now), "" if below else address)
        rows.append(TableRow(cells, STYLES[level_of(state)], below, models))
    return crop(table_blocks(HEAD, rows, width), None)


def service_details(service: Service, now: float) -> Iterator[tuple[str, str]]:
    """Yield all fields of a service as pairs of a name and a value."""
    yield "name", service["name"]
    yield "type", type_of(service)
    yield "state", state_of(service)
    if service.get("handover"):
        yield "handover", "routers move its streams to other instances"
    yield "heard", f"{_age(service, now)} ago"
    for key in DETAIL_FIELDS:
        if service.get(key) not in (None, ""):
            yield key, str(service[key])
    for key, value in service.get("metadata", {}).items():
        if key not in ("type", *HIDDEN_METADATA):
            yield key, value if isinstance(value, str) else json.dumps(value)


def service_changes(before: Mapping[str, Service], after: Mapping[str, Service]) -> Iterator[tuple[str, str]]:
    """Yield the changes between two lists that concern an operator, as pairs of a service's name and a text."""
    for name in sorted({*before, *after}):
        if name not in after:
            yield name, "removed"
        elif name not in before:
            yield name, f"registered: {state_of(after[name])}, {after[name]['url']}"
        else:
            change = "; ".join(_changed_fields(_shown_fields(before[name]), _shown_fields(after[name])))
            if change:
                yield name, change


def _shown_fields(service: Service) -> dict[str, Any]:
    metadata = {key: value for key, value in service.get("metadata", {}).items() if key not in HIDDEN_METADATA}
    return {"": state_of(service), "url": service["url"], "weight": service.get("weight"), **metadata}


def _changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield f"{key}: {_value_text(before.get(key))} -> {_value_text(after.get(key))}".removeprefix(": ")


def _value_text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _age(service: Service, now: float) -> str:
    return duration(max(0, int(now - service.get("last_heartbeat", now))))
