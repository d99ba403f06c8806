"""Models that nobody serves, names that lead nowhere, and the one that was asked about."""

import difflib
from collections.abc import Iterator

from svc.config.instance.model import InstanceConfig, MockBackend
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, Finding
from svc.protocol.instance_names import babysitter_program, instance_name, instance_service, server_program
from svc.protocol.service import INSTANCE_TYPE, listed_models

SHOWN = 8


def check(facts: Facts) -> Iterator[Finding]:
    router = facts.router
    if router is None or router.health.error or not router.services.ok:
        return
    served = served_by(facts)
    aliases = dict(facts.settings.router.aliases) if facts.settings else {}
    known = _known(facts)
    for model in sorted(set(known) - set(served)):
        yield _unserved(facts, model, known[model])
    if not served and not known:
        yield Finding(
            "model.",
            PROBLEM,
            "the router has no instance: it answers 503 'No healthy services available'",
            "none that lists a model is registered",
            fix="svc status",
            because=_everything(facts),
        )
    for alias, model in aliases.items():
        if model not in served:
            yield Finding(
                f"alias.{alias}",
                PROBLEM,
                f"the alias {alias!r} stands for {model!r}, which nobody serves",
                f"there are {_listed(served)}",
                because=(f"model.{model}",),
                first=f"correct [router.aliases] in config/svc.toml{_near(model, list(served))}",
                fix="svc up",
            )
    if facts.model and facts.model not in {*served, *aliases, *known}:
        yield _not_found(facts, facts.model, [*served, *aliases])


def served_by(facts: Facts) -> dict[str, list[str]]:
    """The instances that the router uses, by model."""
    found: dict[str, list[str]] = {}
    for name, told in (facts.router.instances() if facts.router else {}).items():
        if told.get("healthy"):
            for model in told.get("models", ()):
                found.setdefault(model, []).append(name)
    return found


def _known(facts: Facts) -> dict[str, list[str]]:
    """Every model that somebody registered or that a file tells of, with the names of its instances."""
    found: dict[str, list[str]] = {}
    for name, service in facts.known().items():
        if service.get("metadata", {}).get("type") == INSTANCE_TYPE:
            for model in listed_models(service):
                found.setdefault(model, []).append(name)
    for name, told in (facts.router.instances() if facts.router else {}).items():
        for model in told.get("models", ()):
            found.setdefault(model, []).append(name)
    parts = {part.name for part in facts.instances}
    for config in facts.configs.values():
        for model in config.backend.models if isinstance(config.backend, MockBackend) and config.name in parts else ():
            found.setdefault(model, []).append(instance_service(config.name))
    return {model: sorted(set(names)) for model, names in found.items()}


def _unserved(facts: Facts, model: str, names: list[str]) -> Finding:
    because = []
    for name in names:
        part = instance_name(name)
        because += [
            f"program.{server_program(part)}",
            f"restarts.{server_program(part)}",
            f"models.{part}",
            f"outside.{part}",
            f"instance.{name}",
            f"router.*.{name}",
            f"router.unused.{name}",
            f"router.unreached.{name}",
            f"router.ejected.{name}",
            f"router.missing.{name}",
            f"elsewhere.{part}",
            f"babysitter.{part}",
            f"program.{babysitter_program(part)}",
            f"listen.{server_program(part)}",
            f"owner.{part}",
        ]
    return Finding(
        f"model.{model}",
        PROBLEM,
        f"model {model!r}: the router answers 503 'No healthy services available'",
        f"it is that of {', '.join(names)}",
        fix="svc status",
        because=(*because, "files.stale", "files.pending", *DEEP),
    )


DEEP = ("registry.*", "router.waiting", "router.table", "supervisord.*")


def _everything(facts: Facts) -> tuple[str, ...]:
    names = [part.name for part in facts.instances]
    own = [f"{kind}.{name}" for name in names for kind in ("elsewhere", "babysitter", "models", "owner")]
    return (
        *DEEP,
        *(f"program.{server_program(name)}" for name in names),
        *own,
        *(f"instance.{instance_service(name)}" for name in names),
        *(f"program.{babysitter_program(name)}" for name in names),
        *(f"listen.{server_program(name)}" for name in names),
        "instance.*",
        "files.stale",
        "files.wrong.*",
    )


def _not_found(facts: Facts, model: str, names: list[str]) -> Finding:
    url = facts.router.url if facts.router else ""
    waiting = [config.name for config in facts.configs.values() if _names(config, model)]
    if waiting:
        return Finding(
            f"model.{model}",
            PROBLEM,
            f"model {model!r}: the router does not know it",
            f"config/ has it for {', '.join(waiting)}, which does not serve it yet",
            fix="svc up",
            because=("files.stale", "files.pending", "files.wrong.*"),
        )
    return Finding(
        f"model.{model}",
        PROBLEM,
        f"model {model!r}: nobody serves it",
        f"there are {_listed(names)}",
        first=f"ask for one of those{_near(model, names)}; to give it that name too, in config/svc.toml: "
        f'[router.aliases] "{model}" = "MODEL"; the list is at',
        fix=f"curl -sS {url}/v1/models",
    )


def _names(config: InstanceConfig, model: str) -> bool:
    """Whether an instance's command speaks of the model."""
    return any(model in (word, *word.split(",")) for word in config.argv)


def _listed(names: object) -> str:
    told = sorted(names)  # type: ignore[call-overload]
    return (", ".join(told[:SHOWN]) + (f" and {len(told) - SHOWN} more" if len(told) > SHOWN else "")) or "none"


def _near(name: str, names: list[str]) -> str:
    """Those that may be meant: near in spelling, or the same but for capitals or a path before it."""
    lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), lower, 2, 0.6)
    tails = [known for key, known in lower.items() if key.rpartition("/")[2] == name.lower().rpartition("/")[2]]
    found = list(dict.fromkeys([*tails, *(lower[key] for key in close)]))
    return f" (did you mean {' or '.join(found)}?)" if found else ""
