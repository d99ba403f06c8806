"""What Prometheus is to scrape, as its HTTP service discovery reads it. Pure.

Plain labels come with every sample and so are those that stay: what changes
from hour to hour (`__meta_...`) is there for relabelling, and would otherwise
begin new series each time.
"""

from collections.abc import Iterable
from typing import Any

from svc.base.errors import BadRequest
from svc.perimeter.browsers import shown
from svc.protocol.service import Service
from svc.protocol.service_url import is_service_url, parse_service_url

Group = dict[str, Any]
DEFAULT_PATH = "/metrics"


def registry_url(host_url: str, host: str | None) -> str:
    """Return the URL that a request has of this registry; raise BadRequest where its Host is no valid address."""
    if is_service_url(host_url):
        return host_url
    raise BadRequest(f"Host {shown(host)} is not a valid address; use http://REGISTRY_HOST:PORT", param="Host")


def groups(services: Iterable[Service], registry: str) -> list[Group]:
    """Every instance, every babysitter and the registry, whose URL is as the asker has it."""
    own = _group(registry, {"job": "svc-registry", "name": "registry"})
    usable = (s for s in services if is_service_url(s.url) and s.metadata.get("metrics_path") != "")
    return [own, *map(_service, usable)]


def _service(service: Service) -> Group:
    kind = service.metadata.get("type")
    job = "svc-instance" if service.is_instance() else "svc-babysitter" if kind == "babysitter" else "svc-service"
    path = service.metadata.get("metrics_path")
    labels = {"job": job, "name": service.name}
    models = service.metadata.get("models")
    if isinstance(models, list) and models:
        labels["models"] = ",".join(m for m in models if isinstance(m, str))
    told = {
        "status": service.status,
        "healthy": str(service.is_healthy()).lower(),
        "drained": str(service.drained).lower(),
        "type": kind if isinstance(kind, str) else "",
        "hostname": service.hostname,
    }
    meta = {f"__meta_svc_{key}": value for key, value in told.items()}
    return _group(service.url, {**labels, **meta}, path if isinstance(path, str) else None)


def _group(url: str, labels: dict[str, str], path: str | None = None) -> Group:
    """A `path` that is given stands as it is; the usual one is beside what the URL has."""
    parts = parse_service_url(url)
    where = {"__scheme__": parts.scheme, "__metrics_path__": path or parts.path.rstrip("/") + DEFAULT_PATH}
    return {"targets": [parts.authority], "labels": {**where, **labels}}
