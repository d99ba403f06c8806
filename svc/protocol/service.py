"""A registered service, which registry, router and babysitter exchange as JSON."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import msgspec

from svc.base.address import authority
from svc.protocol.service_url import is_service_url

# The statuses that svc's programs report. A registry accepts any text; only `running` means that the service runs.
STATUSES = ("starting", "running", "draining", "stopping", "stopped", "failed", "asleep")
ASLEEP = "asleep"  # status of an instance on demand without memory on a GPU: it runs again when a request needs it
RETURNING_STATUSES = ("starting", "stopping", "draining")  # statuses of an instance that is expected to run again
DEFAULT_LEASE_SECONDS = 90.0
INSTANCE_TYPE = "openai-api"
BABYSITTER_TYPE = "babysitter"
AUTO_CONCURRENCY = "auto"  # value of `max_concurrency` in the metadata: routers find the limit themselves
# Keys in an instance's metadata. True means that its engine has been seen to continue an answer of OpenAI's API, or of
# Anthropic's: some engines continue the former, but begin a new answer in the latter.
CONTINUES, CONTINUES_MESSAGES = "continues", "continues_messages"
MAX_METADATA_BYTES = 64 << 10  # limit for one service's metadata as JSON
MAX_MODELS = 256  # limit for one instance
MAX_MODEL_ID_LENGTH = 512


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service as the registry stores it under its name. Times are Unix seconds; leases are seconds."""

    name: str
    host: str
    port: int
    hostname: str
    url: str
    status: str
    timestamp: str = ""
    last_heartbeat: float = 0.0
    lease_seconds: float = DEFAULT_LEASE_SECONDS
    health_status: str = "unknown"  # unknown | healthy | unhealthy: the result of the registry's own checks
    drained: bool = False  # set by the operator; no heartbeat, PUT or new registration clears it
    handover: bool = False  # set with `drained`: routers also move the instance's streams to other instances
    weight: int = 1
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    expired: bool = False  # set by the registry: no heartbeat arrived during the whole lease
    owner: str = ""  # set by the registry: the identity of the client that may replace or remove the service

    def is_healthy(self) -> bool:
        """Return whether the service runs, is not drained, has a valid lease, and does not fail its health checks."""
        return self.status == "running" and not self.drained and not self.expired and self.health_status != "unhealthy"

    def is_static(self) -> bool:
        """Return whether the metadata has `static = true`. If so, the lease does not end, even without heartbeats."""
        return is_static(self.metadata)

    def is_instance(self) -> bool:
        return self.metadata.get("type") == INSTANCE_TYPE

    def health_url(self) -> str:
        """Return the URL of the health check: `health_url` in the metadata, else /health at the service's URL.

        The default for an instance is /health of its babysitter.
        """
        registered = self.metadata.get("health_url")
        if isinstance(registered, str) and registered:
            return registered
        return (babysitter_url(self.url) if self.is_instance() else self.url.rstrip("/")) + "/health"

    def to_json(self) -> dict[str, Any]:
        """Return the service as JSON for the registry's list. The field `handover` is there only if it is true."""
        fields = {**msgspec.to_builtins(self), "is_healthy": self.is_healthy()}
        del fields["expired"], fields["owner"]
        if not self.handover:
            del fields["handover"]
        return fields


def is_static(metadata: Mapping[str, Any]) -> bool:
    """Return whether the metadata has `static = true`."""
    return metadata.get("static") is True


def is_model_id(value: object) -> bool:
    """Return whether a value is a valid model id: a short text without control characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_MODEL_ID_LENGTH and value.isprintable()


def models_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the valid model ids in an instance's metadata.

    At most MAX_MODELS are returned, because the router keeps a pool of instances for each model.
    """
    models = metadata.get("models")
    return [model for model in models if is_model_id(model)][:MAX_MODELS] if isinstance(models, list) else []


def listed_models(service: Mapping[str, Any]) -> list[str]:
    """Return the model ids of a service, given its JSON from the registry."""
    models = (service.get("metadata") or {}).get("models")
    return [model for model in models if isinstance(model, str)] if isinstance(models, list) else []


def named_babysitter(metadata: Mapping[str, Any]) -> str | None:
    """Return the babysitter's URL in an instance's metadata; None if the metadata contains no valid one."""
    url = metadata.get("babysitter")
    return url.rstrip("/") if isinstance(url, str) and is_service_url(url, query=False) else None


def babysitter_of(url: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the URL of the babysitter of the instance at `url`: the URL in its metadata, else port + 1.

    Return None for an instance without a babysitter. Such an instance has `static` and `health_url` in its metadata,
    as `svc services add` registers it.
    """
    if named := named_babysitter(metadata):
        return named
    return None if is_static(metadata) and isinstance(metadata.get("health_url"), str) else babysitter_url(url)


def babysitter_url(url: str) -> str:
    """Return the URL of the babysitter of the instance at `url`: plain HTTP on the instance's port + 1."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"http://{authority(host, port + 1)}"


def iso(now: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC, the format of every `timestamp`."""
    return datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
