"""One registered service: its states and its JSON, as registry, router and babysitter exchange it."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import msgspec

from svc.base.address import authority
from svc.protocol.service_url import is_service_url

STATUSES = ("starting", "running", "draining", "stopping", "stopped", "failed")
DEFAULT_LEASE = 90.0
INSTANCE_TYPE = "openai-api"
BABYSITTER_TYPE = "babysitter"
MAX_METADATA_BYTES = 64 << 10  # as JSON
MAX_MODELS = 256  # of one instance
MAX_MODEL_ID_LENGTH = 512


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry knows of one name. Times are Unix seconds; leases are seconds."""

    name: str
    host: str
    port: int
    hostname: str
    url: str
    status: str
    timestamp: str = ""
    last_heartbeat: float = 0.0
    lease_seconds: float = DEFAULT_LEASE
    health_status: str = "unknown"  # unknown | healthy | unhealthy: what the registry's own checks found
    drained: bool = False  # the operator's; no heartbeat, PUT or new registration clears it
    weight: int = 1
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    expired: bool = False  # the registry's own: it marks what was silent for its whole lease
    owner: str = ""  # the registry's own: who may replace or remove it

    def is_healthy(self) -> bool:
        """Running, not drained, its lease not expired, and not failing its checks."""
        return self.status == "running" and not self.drained and not self.expired and self.health_status != "unhealthy"

    def is_instance(self) -> bool:
        return self.metadata.get("type") == INSTANCE_TYPE

    def health_url(self) -> str:
        """Where its health is checked: what it says, else for an instance its babysitter (port + 1), else itself."""
        told = self.metadata.get("health_url")
        if isinstance(told, str) and told:
            return told
        return (babysitter_url(self.url) if self.is_instance() else self.url.rstrip("/")) + "/health"

    def to_json(self) -> dict[str, Any]:
        told = {**msgspec.to_builtins(self), "is_healthy": self.is_healthy()}
        del told["expired"], told["owner"]
        return told


def is_model_id(value: object) -> bool:
    """Return whether a value can be a model's id: short text that can be printed, so without control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_MODEL_ID_LENGTH and value.isprintable()


def models_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the model ids in an instance's metadata, MAX_MODELS at most: the router has a pool for each."""
    models = metadata.get("models")
    return [model for model in models if is_model_id(model)][:MAX_MODELS] if isinstance(models, list) else []


def listed_models(service: Mapping[str, Any]) -> list[str]:
    """Return the model ids of a service, as the registry lists it in JSON."""
    models = (service.get("metadata") or {}).get("models")
    return [model for model in models if isinstance(model, str)] if isinstance(models, list) else []


def named_babysitter(metadata: Mapping[str, Any]) -> str | None:
    """Return the URL of the babysitter that an instance's metadata names."""
    url = metadata.get("babysitter")
    return url.rstrip("/") if isinstance(url, str) and is_service_url(url, query=False) else None


def babysitter_url(url: str) -> str:
    """The babysitter of the instance at `url` listens on the next port, in plain HTTP."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"http://{authority(host, port + 1)}"


def iso(now: float) -> str:
    """ISO 8601 in UTC, as every `timestamp` is written."""
    return datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
