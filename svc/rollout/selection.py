"""What the words of `svc rollout restart` mean. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from svc.base.errors import CommandError
from svc.protocol.instance_names import instance_name, instance_service, server_program
from svc.protocol.service import listed_models
from svc.site.components import Component

ALL = "all"


def meant(
    words: Sequence[str],
    components: Sequence[Component],
    services: Mapping[str, Mapping[str, Any]],
    states: Mapping[str, str],
) -> list[Component]:
    """The instances: 1. by name, its own or its babysitter's; 2. by model; 3. all of this host.

    One that was stopped by hand is meant by its name alone. Raises CommandError for a word that means nothing.
    """
    instances = {component.name: component for component in components if component.kind == "babysitter"}
    up = {
        name: component
        for name, component in instances.items()
        if states.get(server_program(name), "STOPPED") != "STOPPED"
    }
    of_model: dict[str, list[Component]] = {}
    for name, component in up.items():
        for model in listed_models(services.get(instance_service(name), {})):
            of_model.setdefault(model, []).append(component)
    found: dict[str, Component] = {}
    for word in words:
        name = word if word in instances else instance_name(word)
        if name in instances:
            chosen = [instances[name]]  # 1
        elif word in of_model:
            chosen = of_model[word]  # 2
        elif word == ALL:
            chosen = list(up.values())  # 3
        else:
            raise CommandError(f"{word}: {_unknown(word, [*instances, *of_model])}")
        found |= {component.name: component for component in chosen}
    return list(found.values())


def _unknown(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    cure = f"did you mean {close[0]}?" if close else f"there are {', '.join(dict.fromkeys(known)) or 'none'}"
    return f"no instance of this host has this name or model; {cure}"
