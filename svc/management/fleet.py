"""Select the instances for a management request: by model, by name, or all. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from svc.base.address import is_loopback
from svc.base.errors import CommandError
from svc.base.similar_names import did_you_mean
from svc.client.service_names import instance_named
from svc.protocol.service import Service, babysitter_of, models_of
from svc.protocol.service_url import parse_service_url

SERVING = ("running", "draining")  # the statuses in which an instance's engine answers requests


@dataclasses.dataclass(frozen=True, slots=True)
class EngineInstance:
    """An engine with its URL and its models. `static`: the engine is a static service of this site's router."""

    name: str
    url: str
    models: tuple[str, ...] = ()
    babysitter_url: str | None = None  # None: a static service without a babysitter
    status: str = "running"
    static: bool = False
    discovers_models: bool = False  # whether the models of a static service are read from its engine


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The operator's choice of instances: exactly one of the fields is set."""

    model: str = ""
    names: Sequence[str] = ()
    every: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """All known instances: those in the registry, and the static services of this site's router.

    `services` maps each name in the registry to its entry; babysitters are included.
    """

    services: Mapping[str, Mapping[str, Any]]
    registered: Mapping[str, EngineInstance]
    static: Mapping[str, EngineInstance]

    @property
    def instances(self) -> dict[str, EngineInstance]:
        return {**self.static, **self.registered}

    def models(self) -> list[str]:
        return sorted({model for instance in self.instances.values() for model in instance.models})


def build_fleet(services: Iterable[Mapping[str, Any]], static: Iterable[EngineInstance] = ()) -> Fleet:
    """Return the fleet of a registry's `services` and a router's `static` services.

    If both contain a name, the static service is used: otherwise a registered instance would receive the requests and
    the API key of the static service.
    """
    by_name = {instance.name: instance for instance in static}
    entries = {service["name"]: service for service in services}
    instances = {
        name: instance for name, entry in entries.items() if name not in by_name and (instance := from_entry(entry))
    }
    return Fleet(entries, instances, by_name)


def from_entry(entry: Mapping[str, Any]) -> EngineInstance | None:
    """Return the instance that an entry of the registry describes; None for a babysitter or an unusable URL."""
    try:
        service = msgspec.convert(entry, Service)
        parse_service_url(service.url)
    except ValueError:  # msgspec.ValidationError is a ValueError
        return None
    if not service.is_instance():
        return None
    url, models = service.url.rstrip("/"), tuple(models_of(service.metadata))
    return EngineInstance(service.name, url, models, babysitter_of(url, service.metadata), service.status)


def select(fleet: Fleet, selection: Selection) -> list[EngineInstance]:
    """Return the selected instances, sorted by name; raise CommandError or NotFound if there are none.

    A model selects every instance that lists it, including drained ones, because they will serve it again.
    """
    instances = fleet.instances
    if selection.names:
        chosen = {_resolve_name(name, fleet) for name in selection.names}
    elif selection.every:
        chosen = set(instances)
    else:
        chosen = {name for name, instance in instances.items() if selection.model in instance.models}
    if not chosen:
        raise CommandError(_none_of(selection.model, fleet.models()))
    return [instances[name] for name in sorted(chosen)]


def _resolve_name(name: str, fleet: Fleet) -> str:
    if name in fleet.static:
        return name
    name = instance_named(name, fleet.services)
    if name not in fleet.registered:
        raise CommandError(f"{name} is no instance that requests can be sent to; `svc services show {name}` shows it")
    return name


def _none_of(model: str, models: Sequence[str]) -> str:
    if not models:
        return "no instance lists a model; `svc services` shows what is registered"
    question = did_you_mean(model, models, "")
    return f"no instance lists the model {model!r}; there are {', '.join(models)}" + (question and f"; {question}")


def skip_reason(instance: EngineInstance, named: bool) -> str:
    """Return why no request is sent to an instance, or "".

    A request is sent to an instance in any state if the operator named the instance.
    """
    return "" if named or instance.status in SERVING else f"it is {instance.status}"


def unreachable_reason(entry: Mapping[str, Any], registry_is_here: bool, hostname: str) -> str:
    """Return why an instance is unreachable because its address is another machine's loopback; "" if it is not.

    `registry_is_here` means that the registry runs on this machine, as do then the instances with such an address.
    """
    if registry_is_here or not is_loopback(str(entry["host"])) or entry.get("hostname") == hostname:
        return ""
    return f"it is registered at {entry['host']}, which is reached on {entry.get('hostname')} only; run this there"


def without_models(fleet: Fleet) -> list[str]:
    """Return the names of starting instances that list no model yet; each may turn out to serve any model."""
    return sorted(
        name for name, instance in fleet.registered.items() if not instance.models and instance.status == "starting"
    )
