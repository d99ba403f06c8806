"""Services to test with."""

from typing import Any
from urllib.parse import urlsplit

from svc.protocol.service import Service

NOW = 1_700_000_000.0


def told(name: str = "qwen", **fields: Any) -> dict[str, Any]:
    """What a client sends to register; host and port are those of a url that is given, and the other way round."""
    place = urlsplit(fields["url"]) if "url" in fields else None
    host = fields.get("host", place.hostname if place else "10.0.0.7")
    port = fields.get("port", (place.port or 80) if place else 8100)
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
    """What the registry makes of it, heard of at NOW."""
    return Service(**{"timestamp": "2023-11-14T22:13:20Z", "last_heartbeat": NOW, **told(name, **fields)})
