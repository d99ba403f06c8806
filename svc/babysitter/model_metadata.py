"""What a registration says of the models, within the limits that every registry has. Pure."""

from collections.abc import Callable
from typing import Any

import msgspec

from svc.babysitter.engine_status import Models
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODELS, is_model_id

Model = dict[str, Any]
RESERVED_BYTES = 1024  # for what else is in the metadata, beside what is counted: keys, commas, counts of restarts


def model_metadata(models: Models, others: dict[str, Any]) -> dict[str, Any]:
    """Return `models`, the ids, and `models_list`, the objects; `others`: the rest of the metadata.

    Objects that are too large together are shortened first; models are left out only where even ids alone do not fit.
    vLLM's objects have 500 bytes each, most of which are permissions.
    """
    rest = {key: value for key, value in others.items() if key not in ("models", "models_list")}
    budget = MAX_METADATA_BYTES - RESERVED_BYTES - size(rest)
    fit = [model for model in models if is_model_id(model["id"])][:MAX_MODELS]
    for shorten in SHORTENINGS:
        objects = [shorten(model) for model in fit]
        if sum(map(cost, objects)) <= budget:
            return both_lists(objects)
    while objects and sum(map(cost, objects)) > budget:
        objects.pop()
    return both_lists(objects)


def whole(model: Model) -> Model:
    return model


def flat(model: Model) -> Model:
    """Return the object without the lists and objects in it."""
    return {key: value for key, value in model.items() if not isinstance(value, (list, dict))}


def bare(model: Model) -> Model:
    return {"id": model["id"], "object": "model"}


SHORTENINGS: tuple[Callable[[Model], Model], ...] = (whole, flat, bare)


def both_lists(objects: Models) -> dict[str, Any]:
    return {"models": [model["id"] for model in objects], "models_list": objects}


def cost(model: Model) -> int:
    """Return the bytes that a model takes in both lists."""
    return size(model) + size(model["id"]) + 2


def size(value: Any) -> int:
    return len(msgspec.json.encode(value))
