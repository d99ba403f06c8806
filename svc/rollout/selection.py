"""Selects the instances for the arguments of `svc rollout restart`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from svc.base.errors import CommandError
from svc.base.similar_names import did_you_mean
from svc.protocol.instance_names import instance_name, server_program
from svc.protocol.service import listed_models
from svc.site.components import Component

ALL = "all"


def select_instances(
    arguments: Sequence[str],
    components: Sequence[Component],
    services: Mapping[str, Mapping[str, Any]],
    program_states: Mapping[str, str],
) -> list[Component]:
    """Return the selected instances. The first of these rules that fits an argument is used:

    1. The name of an instance or of its babysitter selects this instance.
    2. A model selects the instances that list it.
    3. `all` selects all instances.

    Only rule 1 selects an instance that was stopped by hand; an instance on demand whose server does not run is asleep,
    not stopped. Raise CommandError for an unknown argument.
    """
    instances = {component.name: component for component in components if component.kind == "babysitter"}
    started = [
        instance
        for name, instance in instances.items()
        if instance.on_demand or program_states.get(server_program(name), "STOPPED") != "STOPPED"
    ]
    by_model: dict[str, list[Component]] = {}
    for instance in started:
        for model in listed_models(services.get(instance.service_name, {})):
            by_model.setdefault(model, []).append(instance)
    selected: dict[str, Component] = {}
    for argument in arguments:
        name = argument if argument in instances else instance_name(argument)
        if name in instances:
            chosen = [instances[name]]  # rule 1
        elif argument in by_model:
            chosen = by_model[argument]  # rule 2
        elif argument == ALL:
            chosen = started  # rule 3
        else:
            raise CommandError(f"{argument}: {_unknown_argument_text(argument, [*instances, *by_model])}")
        selected |= {instance.name: instance for instance in chosen}
    return list(selected.values())


def _unknown_argument_text(argument: str, known: Sequence[str]) -> str:
    cure = did_you_mean(argument, known, f"there are {', '.join(dict.fromkeys(known)) or 'none'}")
    return f"no instance of this host has this name or model; {cure}"
