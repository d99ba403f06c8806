"""Checks for models without a healthy instance, aliases of such models, and the model that the operator named."""

from collections.abc import Iterator

from svc.config.instance.model import InstanceConfig, MockBackend
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, Finding
from svc.protocol.instance_names import babysitter_program, instance_name, instance_service, server_program
from svc.protocol.service import INSTANCE_TYPE, listed_models
from svc.protocol.similar_names import first_names, similar_names

MAX_MODELS_SHOWN = 8


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.router
    if router is None or router.health.error or not router.services.ok:
        return
    served = served_by(facts)
    aliases = dict(facts.settings.router.aliases) if facts.settings else {}
    known = _known_models(facts)
    for model in sorted(set(known) - set(served)):
        yield _unserved_model(facts, model, known[model])
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
        if model not in served:
            yield Finding(
                f"alias.{alias}",
                PROBLEM,
                f"the alias {alias!r} stands for {model!r}, which no instance serves",
                f"there are {first_names(served, MAX_MODELS_SHOWN)}",
                causes=(f"model.{model}",),
                first_step=f"correct [router.aliases] in config/svc.toml{_spelling_hint(model, list(served))}",
                fix="svc up",
            )
    if facts.model and facts.model not in {*served, *aliases, *known}:
        yield _unknown_model(facts, facts.model, [*served, *aliases])


def served_by(facts: Facts) -> dict[str, list[str]]:
    """Return, by model, the instances that the router uses."""
    instances: dict[str, list[str]] = {}
    for name, entry in (facts.router.instances() if facts.router else {}).items():
        if entry.get("healthy"):
            for model in entry.get("models", ()):
                instances.setdefault(model, []).append(name)
    return instances


def _known_models(facts: Facts) -> dict[str, list[str]]:
    """Return the names of each model's instances, for all models in the registry, the router and the TOML files."""
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
    url = facts.router.url if facts.router else ""
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
        f"there are {first_names(names, MAX_MODELS_SHOWN)}",
        first_step=f"ask for one of those{_spelling_hint(model, names)}; to give it that name too, in config/svc.toml: "
        f'[router.aliases] "{model}" = "MODEL"; the list is at',
        fix=f"curl -sS {url}/v1/models",
    )


def _command_names(config: InstanceConfig, model: str) -> bool:
    """Return whether an instance's command contains the model."""
    return any(model in (argument, *argument.split(",")) for argument in config.argv)


def _spelling_hint(name: str, names: list[str]) -> str:
    similar = similar_names(name, names)
    return f" (did you mean {' or '.join(similar)}?)" if similar else ""
