"""Registrations and services that tests use."""

from typing import Any
from urllib.parse import urlsplit

from svc.protocol.service import Service

NOW = 1_700_000_000.0


def registration(name: str = "qwen", **fields: Any) -> dict[str, Any]:
    """Return the body of a registration. Host and port follow from a given `url`, and the url from host and port."""
    address = urlsplit(fields["url"]) if "url" in fields else None
    host = fields.get("host", address.hostname if address else "10.0.0.7")
    port = fields.get("port", (address.port or 80) if address else 8100)
    return {
        "name": name,
        "host": host,
        "port": port,
        "hostname": "gpu7",
        "url": f"http://{host}:{port}",
        "status": "running",
        **fields,
    }


def service(name: str = "qwen", **fields: Any) -> Service:
    """Return the service that this registration becomes, with its last heartbeat at NOW."""
    return Service(**{"timestamp": "2023-11-14T22:13:20Z", "last_heartbeat": NOW, **registration(name, **fields)})
