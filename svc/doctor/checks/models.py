"""Checks for models without a healthy instance, for aliases of such models, and the model from the command line."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from svc.base.similar_names import abbreviated_list, similar_names
from svc.config.instance.model import InstanceConfig, MockBackend
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.protocol.instance_names import babysitter_program, instance_name, instance_service, server_program
from svc.protocol.service import ASLEEP, INSTANCE_TYPE, RETURNING_STATUSES, listed_models

MAX_MODELS_SHOWN = 8


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.router
    if router is None or router.health.error:
        return
    if not router.services.ok:
        if facts.model:
            yield from _model_of_keyed_router(facts, facts.model)
        return
    served = served_by(facts)
    aliases = dict(facts.settings.router.aliases) if facts.settings else {}
    known = _known_models(facts)
    for model in sorted(set(known) - set(served)):
        yield from _unserved_or_waking(facts, model, known[model])
    if not served and not known:
        yield Finding(
            "model.",
            PROBLEM,
            "the router has no instance: it answers 503 'No healthy services available'",
            "none that lists a model is registered",
            fix="svc status",
            causes=_all_causes(facts),
        )
    for alias, model in aliases.items():
        if model not in served and not _waking(facts, known.get(model, ())):
            yield _unserved_alias(alias, model, list(served))
    if facts.model and facts.model not in {*served, *aliases, *known}:
        yield _unknown_model(facts, facts.model, [*served, *aliases])


def _model_of_keyed_router(facts: Facts, name: str) -> Iterator[Finding]:
    """Yield a finding if no healthy instance in the registry lists a model.

    A router that requires an API key does not show its instances to the doctor. If it has static services, the registry
    does not list them, so the finding says that the model may exist.
    """
    aliases = dict(facts.settings.router.aliases) if facts.settings else {}
    model = aliases.get(name, name)
    served = _served_by_registry(facts)
    if model in served:
        return
    known = _known_models(facts)
    if facts.listing_registry() is None or (facts.settings and facts.settings.router.static_services):
        yield _unreadable_list(facts, name)
    elif model in known:
        yield from _unserved_or_waking(facts, model, known[model])
    elif name in aliases:
        yield _unserved_alias(name, model, served)
    else:
        yield _unknown_model(facts, model, [*served, *aliases])


def _served_by_registry(facts: Facts) -> list[str]:
    """Return the models that the router should serve, according to the registry: those of its usable instances.

    An instance that is asleep is usable, because a request wakes it.
    """
    usable = (
        service
        for service in facts.registered_services().values()
        if service.get("metadata", {}).get("type") == INSTANCE_TYPE
        and (service["is_healthy"] or service["status"] == ASLEEP)
        and not service["drained"]
    )
    return sorted({model for service in usable for model in listed_models(service)})


def _unserved_alias(alias: str, model: str, served: list[str]) -> Finding:
    return Finding(
        f"alias.{alias}",
        PROBLEM,
        f"the alias {alias!r} stands for {model!r}, which no instance serves",
        f"there are {abbreviated_list(served, MAX_MODELS_SHOWN)}",
        causes=(f"model.{model}",),
        first_step=f"correct [router.aliases] in config/svc.toml{_spelling_hint(model, served)}",
        fix="svc up",
    )


def _unreadable_list(facts: Facts, model: str) -> Finding:
    response = facts.router.services if facts.router else None
    return Finding(
        f"model.{model}",
        WARNING,
        f"model {model!r}: the router's list of models cannot be read, so that it is unknown whether it has it",
        f"GET {response.url}: {response.problem}" if response else "",
        first_step="look for it in the list, with a client's key (`svc keys add NAME` makes one)",
        fix=_list_command(facts),
        causes=GENERAL_CAUSES,
    )


def _list_command(facts: Facts) -> str:
    """Return the command that shows the router's list of models."""
    router = facts.router
    key = ' -H "Authorization: Bearer KEY"' if router and router.services.status == 401 else ""
    return f"curl -sS{key} {router.url if router else ''}/v1/models"


def served_by(facts: Facts) -> dict[str, list[str]]:
    """Return a dict from each model to the instances that the router uses for it, or would wake for it."""
    instances: dict[str, list[str]] = {}
    for name, entry in (facts.router.instances() if facts.router else {}).items():
        if entry.get("healthy") or (entry.get("status") == ASLEEP and not entry.get("drained")):
            for model in entry.get("models", ()):
                instances.setdefault(model, []).append(name)
    return instances


def _known_models(facts: Facts) -> dict[str, list[str]]:
    """Return a dict from model to instances, for the models in the registry, the router and the mocks' TOML files."""
    instances: dict[str, list[str]] = {}
    for name, service in facts.registered_services().items():
        if service.get("metadata", {}).get("type") == INSTANCE_TYPE:
            for model in listed_models(service):
                instances.setdefault(model, []).append(name)
    for name, entry in (facts.router.instances() if facts.router else {}).items():
        for model in entry.get("models", ()):
            instances.setdefault(model, []).append(name)
    own_names = {component.name for component in facts.instances}
    for config in facts.configs.values():
        for model in (
            config.backend.models if isinstance(config.backend, MockBackend) and config.name in own_names else ()
        ):
            instances.setdefault(model, []).append(instance_service(config.name))
    return {model: sorted(set(names)) for model, names in instances.items()}


def _unserved_or_waking(facts: Facts, model: str, names: list[str]) -> Iterator[Finding]:
    """Yield the finding for a model without a usable instance; none while an instance on demand starts as it should."""
    waking = _waking(facts, names)
    if not waking:
        yield _unserved_model(facts, model, names)
    elif all(entry["metadata"].get("restart_reason") for entry in waking.values()):
        summary = f"model {model!r}: requests wait for {', '.join(waking)}, and get 503 when its wake_timeout is over"
        finding = _unserved_model(facts, model, names)
        yield dataclasses.replace(finding, summary=summary, evidence="its process has ended, and starts again")


def _waking(facts: Facts, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return those of the instances for which requests wait, because they are on demand and start or stop."""
    routed = facts.router.instances() if facts.router else {}
    entries = {name: routed.get(name) or facts.registered_services().get(name, {}) for name in names}
    return {
        name: entry
        for name, entry in entries.items()
        if entry.get("metadata", {}).get("on_demand")
        and entry.get("status") in RETURNING_STATUSES
        and not entry.get("drained")
    }


def _unserved_model(facts: Facts, model: str, names: list[str]) -> Finding:
    causes = []
    for name in names:
        instance = instance_name(name)
        causes += [
            f"program.{server_program(instance)}",
            f"restarts.{server_program(instance)}",
            f"models.{instance}",
            f"outside.{instance}",
            f"instance.{name}",
            f"router.*.{name}",
            f"router.unused.{name}",
            f"router.unreached.{name}",
            f"router.ejected.{name}",
            f"router.missing.{name}",
            f"elsewhere.{instance}",
            f"babysitter.{instance}",
            f"program.{babysitter_program(instance)}",
            f"listen.{server_program(instance)}",
            f"owner.{instance}",
        ]
    return Finding(
        f"model.{model}",
        PROBLEM,
        f"model {model!r}: the router answers 503 'No healthy services available'",
        f"it is that of {', '.join(names)}",
        fix="svc status",
        causes=(*causes, "files.stale", "files.pending", *GENERAL_CAUSES),
    )


GENERAL_CAUSES = ("registry.*", "router.waiting", "router.table", "supervisord.*")


def _all_causes(facts: Facts) -> tuple[str, ...]:
    names = [component.name for component in facts.instances]
    own = [f"{kind}.{name}" for name in names for kind in ("elsewhere", "babysitter", "models", "owner")]
    return (
        *GENERAL_CAUSES,
        *(f"program.{server_program(name)}" for name in names),
        *own,
        *(f"instance.{instance_service(name)}" for name in names),
        *(f"program.{babysitter_program(name)}" for name in names),
        *(f"listen.{server_program(name)}" for name in names),
        "instance.*",
        "files.stale",
        "files.wrong.*",
    )


def _unknown_model(facts: Facts, model: str, names: list[str]) -> Finding:
    waiting = [config.name for config in facts.configs.values() if _command_names(config, model)]
    if waiting:
        return Finding(
            f"model.{model}",
            PROBLEM,
            f"model {model!r}: the router does not know it",
            f"config/ has it for {', '.join(waiting)}, which does not serve it yet",
            fix="svc up",
            causes=("files.stale", "files.pending", "files.wrong.*"),
        )
    return Finding(
        f"model.{model}",
        PROBLEM,
        f"model {model!r}: no instance serves it",
        f"there are {abbreviated_list(names, MAX_MODELS_SHOWN)}",
        first_step=f"ask for one of those{_spelling_hint(model, names)}; to give it that name too, in config/svc.toml"
        f"{_alias_toml(facts, model)}\nthe list is at",
        fix=_list_command(facts),
    )


def _alias_toml(facts: Facts, name: str) -> str:
    """Return the TOML lines that add an alias.

    They begin with the table's header, unless the file has this table already.
    """
    line = f'{json.dumps(name, ensure_ascii=False)} = "MODEL"'
    has_table = facts.settings is not None and facts.settings.router.aliases
    return f", under [router.aliases]:\n{line}" if has_table else f":\n[router.aliases]\n{line}"


def _command_names(config: InstanceConfig, model: str) -> bool:
    """Return whether an instance's command contains the model."""
    return any(model in (argument, *argument.split(",")) for argument in config.argv)


def _spelling_hint(name: str, names: list[str]) -> str:
    similar = similar_names(name, names)
    return f" (did you mean {' or '.join(similar)}?)" if similar else ""
