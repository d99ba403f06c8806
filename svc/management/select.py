"""The instances that an operator's request goes to: those of a model, those with a name, or all. Pure."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from svc.base.address import is_loopback
from svc.base.errors import CommandError
from svc.protocol.service import Service
from svc.router.balance.table import Target, from_service
from svc.terminal import services_table

SERVING = ("running", "draining")  # states in which an instance has a process that answers requests


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Which instances are meant. One of the three is given."""

    model: str = ""
    names: Sequence[str] = ()
    every: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """The instances by name: as the registry lists them, and the static services of this site's router.

    `services` are all entries of the registry, babysitters too, by name.
    """

    services: Mapping[str, Mapping[str, Any]]
    registered: Mapping[str, Target]
    static: Mapping[str, Target]

    @property
    def instances(self) -> dict[str, Target]:
        return {**self.static, **self.registered}

    def models(self) -> list[str]:
        return sorted({model for target in self.instances.values() for model in target.models})


def build_fleet(services: Iterable[Mapping[str, Any]], static: Iterable[Target] = ()) -> Fleet:
    """Return the instances of a registry's list and of a file of static services.

    A registration does not replace a static service of the same name: it would get the service's requests and key.
    """
    by_name = {target.name: target for target in static}
    entries = {service["name"]: service for service in services}
    targets = {name: target for name, entry in entries.items() if name not in by_name and (target := _target(entry))}
    return Fleet(entries, targets, by_name)


def _target(entry: Mapping[str, Any]) -> Target | None:
    try:
        return from_service(msgspec.convert(entry, Service))
    except msgspec.ValidationError:
        return None


def select(fleet: Fleet, selection: Selection) -> list[Target]:
    """Return the instances that are meant, by name; raises CommandError or NotFound where there are none.

    A model is served by every instance that lists it, drained or not: one that is drained comes back.
    """
    instances = fleet.instances
    if selection.names:
        chosen = {_resolve_name(name, fleet) for name in selection.names}
    elif selection.every:
        chosen = set(instances)
    else:
        chosen = {name for name, target in instances.items() if selection.model in target.models}
    if not chosen:
        raise CommandError(_none_of(selection.model, fleet.models()))
    return [instances[name] for name in sorted(chosen)]


def _resolve_name(name: str, fleet: Fleet) -> str:
    if name in fleet.static:
        return name
    name = services_table.instance(name, fleet.services)
    if name not in fleet.registered:
        raise CommandError(f"{name} is no instance that requests can be sent to; `svc services show {name}` shows it")
    return name


def _none_of(model: str, models: Sequence[str]) -> str:
    if not models:
        return "no instance lists a model; `svc services` shows what is registered"
    close = difflib.get_close_matches(model, models, 1)
    cure = f"; did you mean {close[0]}?" if close else ""
    return f"no instance lists the model {model!r}; there are {', '.join(models)}{cure}"


def skip_reason(target: Target, named: bool) -> str:
    """Return why no request is sent to an instance; empty where one is.

    One that is named gets the request in any state: the operator may know better.
    """
    return "" if named or target.status in SERVING else f"it is {target.status}"


def unreachable_reason(entry: Mapping[str, Any], registry_is_here: bool, hostname: str) -> str:
    """Return what stands against an instance at a loopback address of another machine; empty where nothing does."""
    if registry_is_here or not is_loopback(str(entry["host"])) or entry.get("hostname") == hostname:
        return ""
    return f"it is registered at {entry['host']}, which is reached on {entry.get('hostname')} only; run this there"


def without_models(fleet: Fleet) -> list[str]:
    """Return the names of instances that list no model yet: any model may be theirs."""
    return sorted(
        name for name, target in fleet.registered.items() if not target.models and target.status == "starting"
    )
