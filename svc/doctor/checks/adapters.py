"""Checks that each LoRA adapter is loaded at every instance of its base model. A restart of an engine unloads it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding
from svc.protocol.service import INSTANCE_TYPE, is_model_id

LOAD_PATH, SGLANG_LOAD_PATH = "/v1/load_lora_adapter", "/load_lora_adapter"
UNKNOWN_PATH = "/PATH/OF/THE/ADAPTER"


def check(facts: Facts) -> Iterator[Finding]:
    instances = _running_instances(facts)
    for (name, base), holders in loaded_adapters(facts).items():
        listed = {instance: {model["id"] for model in models} for instance, models in instances.items()}
        missing = sorted(instance for instance, ids in listed.items() if base in ids and name not in ids)
        if missing:
            yield _missing_adapter(name, base, holders, missing)


def loaded_adapters(facts: Facts) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """Return, for each pair of adapter and base model, a dict from running instances to their entry for the adapter.

    In the lists of vLLM and SGLang, an adapter's field `parent` is its base model, and `root` is the adapter's path.
    """
    adapters: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for instance, models in _running_instances(facts).items():
        for model in models:
            if is_model_id(model.get("parent")):
                adapters.setdefault((model["id"], model["parent"]), {})[instance] = model
    return adapters


def _running_instances(facts: Facts) -> dict[str, list[Mapping[str, Any]]]:
    """Return a dict from each running instance to the entries of its model list."""
    return {
        name: [
            m for m in service["metadata"].get("models_list") or () if isinstance(m, dict) and is_model_id(m.get("id"))
        ]
        for name, service in sorted(facts.registered_services().items())
        if service.get("metadata", {}).get("type") == INSTANCE_TYPE and service["status"] == "running"
    }


def _missing_adapter(name: str, base: str, holders: Mapping[str, Mapping[str, Any]], missing: list[str]) -> Finding:
    entry = next(iter(holders.values()))
    path = SGLANG_LOAD_PATH if entry.get("owned_by") == "sglang" else LOAD_PATH
    root = entry.get("root")
    body = {"lora_name": name, "lora_path": root if isinstance(root, str) and root else UNKNOWN_PATH}
    targets = " ".join(f"--instance {instance}" for instance in missing)
    return Finding(
        f"adapter.{name}",
        WARNING,
        f"LoRA adapter {name!r}: is not loaded at {', '.join(missing)}",
        f"an adapter of {base!r} that {', '.join(sorted(holders))} lists; instances without it get no requests for it",
        fix=f"svc engine POST {path} {targets} --json {shlex.quote(json.dumps(body))}",
        causes=tuple(f"instance.{instance}" for instance in missing),
    )
