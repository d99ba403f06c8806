"""Findings about LoRA adapters."""

import json
import shlex
from typing import Any

from tests.unit.doctor.sample_site import findings, registry, service

ADAPTER = {"id": "sql", "object": "model", "owned_by": "vllm", "root": "/adapters/it's sql", "parent": "m"}


def replica(name: str, port: int, *adapters: dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = [{"id": "m", "object": "model", "parent": None}, *adapters]
    metadata = {"type": "openai-api", "models": [entry["id"] for entry in entries], "models_list": entries}
    return service(name, port, **{"metadata": metadata, **more})


def adapter_findings(*replicas: dict[str, Any]) -> dict[str, Any]:
    found = findings(registries=[registry(list(replicas))])
    return {key: finding for key, finding in found.items() if key.startswith("adapter.")}


def test_an_adapter_that_a_replica_lacks_is_named_with_the_command_that_loads_it():
    (found,) = adapter_findings(replica("a", 8100, ADAPTER), replica("b", 8110)).values()
    assert found.key == "adapter.sql"
    assert found.summary == "LoRA adapter 'sql': is not loaded at b-server"
    *command, body = shlex.split(found.fix)
    assert command == ["svc", "engine", "POST", "/v1/load_lora_adapter", "--instance", "b-server", "--json"]
    assert json.loads(body) == {"lora_name": "sql", "lora_path": "/adapters/it's sql"}


def test_sglang_has_another_path():
    (found,) = adapter_findings(replica("a", 8100, ADAPTER | {"owned_by": "sglang"}), replica("b", 8110)).values()
    assert found.fix.startswith("svc engine POST /load_lora_adapter --instance b-server ")


def test_adapters_at_every_replica_and_other_models_are_no_finding():
    assert adapter_findings(replica("a", 8100, ADAPTER), replica("b", 8110, ADAPTER)) == {}
    assert adapter_findings(replica("a", 8100, ADAPTER), service("b", 8110, ("other",))) == {}
    assert adapter_findings(replica("a", 8100, ADAPTER), replica("b", 8110, status="starting", is_healthy=False)) == {}
