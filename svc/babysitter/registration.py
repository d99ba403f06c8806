"""Build the registrations of a babysitter and its instance, within the size limits of a registry. Pure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleState
from svc.config.instance.model import InstanceConfig
from svc.protocol.instance_names import instance_service
from svc.protocol.service import (
    BABYSITTER_TYPE,
    CONTINUES,
    CONTINUES_MESSAGES,
    INSTANCE_TYPE,
    MAX_METADATA_BYTES,
    MAX_MODELS,
    babysitter_url,
    is_model_id,
    iso,
)

Model = dict[str, Any]
RESERVED_BYTES = 1024  # kept free for metadata that is not counted: keys, commas, restart counts
MIN_LEASE_SECONDS = 30.0
LEASE_HEARTBEATS = 3.0  # length of a lease in heartbeat intervals, so that a lease survives two lost heartbeats


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """The registration of one name. A heartbeat can change its `status`; a change of `fields` needs a registration."""

    name: str
    status: str
    fields: dict[str, Any]

    def to_json(self, now: float) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "timestamp": iso(now), **self.fields}


def registrations(
    config: InstanceConfig,
    state: LifecycleState,
    models: Sequence[Model],
    hostname: str,
    process: ProcessSnapshot | None = None,
    continues: bool | None = None,
    continues_messages: bool = False,
    on_demand: Mapping[str, Any] | None = None,
) -> list[Registration]:
    """Return the current registrations: the babysitter's, and also the instance's while its state is known.

    `continues` says whether a probe has proved that the engine continues an answer that breaks off, and
    `continues_messages` whether it does so on /v1/messages. Each is registered only if it is true. `on_demand` is the
    metadata of an instance on demand.
    """
    url = babysitter_url(config.url)
    shared = {
        "host": config.host,
        "hostname": hostname,
        "lease_seconds": max(MIN_LEASE_SECONDS, LEASE_HEARTBEATS * config.heartbeat_interval),
    }
    babysitter = {
        **shared,
        "port": config.babysitter_port,
        "url": url,
        "weight": 1,
        "metadata": {"type": BABYSITTER_TYPE, "server": instance_service(config.name)},
    }
    wanted = [Registration(config.name, "running", babysitter)]
    if state not in (LifecycleState.UNSEEN, LifecycleState.GONE):
        weight = config.metadata.get("weight")
        metadata = {
            **config.metadata,
            "type": INSTANCE_TYPE,
            "parent_service": config.name,
            "babysitter": url,
            "restarts": process.restarts if process else 0,
            "restart_reason": process.reason if process else "",
            **(on_demand or {}),
            **({CONTINUES: True} if continues else {}),
            **({CONTINUES_MESSAGES: True} if continues_messages else {}),
        }
        instance = {
            **shared,
            "port": config.port,
            "url": config.url,
            "weight": weight if isinstance(weight, int) and not isinstance(weight, bool) else 1,
            "metadata": {**metadata, **model_metadata(models, metadata)},
        }
        wanted.append(Registration(instance_service(config.name), state.status, instance))
    return wanted


def model_metadata(models: Sequence[Model], others: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata fields `models` (ids) and `models_list` (objects), small enough to fit beside `others`.

    If the objects together are too large, all of them are shortened; if even the ids alone do not fit, the last models
    are left out. A model object of vLLM has 500 bytes, mostly permissions.
    """
    rest = {key: value for key, value in others.items() if key not in ("models", "models_list")}
    budget = MAX_METADATA_BYTES - RESERVED_BYTES - json_bytes(rest)
    registrable = [model for model in models if is_model_id(model["id"])][:MAX_MODELS]
    for shorten in SHORTENINGS:
        objects = [shorten(model) for model in registrable]
        if sum(map(bytes_in_both_lists, objects)) <= budget:
            return both_lists(objects)
    while objects and sum(map(bytes_in_both_lists, objects)) > budget:
        objects.pop()
    return both_lists(objects)


def unchanged(model: Model) -> Model:
    return model


def without_nested(model: Model) -> Model:
    """Return the model object without the fields that are lists or objects."""
    return {key: value for key, value in model.items() if not isinstance(value, (list, dict))}


def id_only(model: Model) -> Model:
    return {"id": model["id"], "object": "model"}


SHORTENINGS: tuple[Callable[[Model], Model], ...] = (unchanged, without_nested, id_only)


def both_lists(objects: Sequence[Model]) -> dict[str, Any]:
    return {"models": [model["id"] for model in objects], "models_list": list(objects)}


def bytes_in_both_lists(model: Model) -> int:
    """Return the number of bytes that a model takes in `models` and `models_list` together."""
    return json_bytes(model) + json_bytes(model["id"]) + 2


def json_bytes(value: object) -> int:
    return len(msgspec.json.encode(value))
