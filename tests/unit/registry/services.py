"""Services to test with."""

from typing import Any

from svc.instance import Service

NOW = 1_700_000_000.0


def told(name: str = "qwen", **fields: Any) -> dict[str, Any]:
    """What a client sends to register."""
    return {
        "name": name,
        "host": "10.0.0.7",
        "port": 8100,
        "hostname": "gpu7",
        "url": "http://10.0.0.7:8100",
        "status": "running",
        **fields,
    }


def service(name: str = "qwen", **fields: Any) -> Service:
    """What the registry makes of it, heard of at NOW."""
    return Service(**{"timestamp": "2023-11-14T22:13:20Z", "last_heartbeat": NOW, **told(name, **fields)})
