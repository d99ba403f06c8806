"""The targets of Prometheus's HTTP service discovery. Pure.

Properties that rarely or never change are plain labels, which Prometheus adds to every sample. Properties that often
change are `__meta_...` labels, which Prometheus uses for relabelling only: a plain label would begin a new time series
with each change.
"""

from collections.abc import Iterable
from typing import Any

from svc.base.errors import BadRequest
from svc.perimeter.browsers import shown
from svc.protocol.service import Service
from svc.protocol.service_url import is_service_url, parse_service_url

TargetGroup = dict[str, Any]
DEFAULT_METRICS_PATH = "/metrics"


def registry_url(host_url: str, host: str | None) -> str:
    """Return the URL of this registry as the client addressed it; raise BadRequest if the Host header is invalid."""
    if is_service_url(host_url):
        return host_url
    raise BadRequest(f"Host {shown(host)} is not a valid address; use http://REGISTRY_HOST:PORT", param="Host")


def target_groups(services: Iterable[Service], registry: str) -> list[TargetGroup]:
    """Return a target group for each service that has metrics, and one for the registry at the URL `registry`."""
    own = _group(registry, {"job": "svc-registry", "name": "registry"})
    scraped = (s for s in services if is_service_url(s.url) and s.metadata.get("metrics_path") != "")
    return [own, *map(_service_group, scraped)]


def _service_group(service: Service) -> TargetGroup:
    kind = service.metadata.get("type")
    job = "svc-instance" if service.is_instance() else "svc-babysitter" if kind == "babysitter" else "svc-service"
    path = service.metadata.get("metrics_path")
    labels = {"job": job, "name": service.name}
    models = service.metadata.get("models")
    if isinstance(models, list) and models:
        labels["models"] = ",".join(m for m in models if isinstance(m, str))
    state = {
        "status": service.status,
        "healthy": str(service.is_healthy()).lower(),
        "drained": str(service.drained).lower(),
        "type": kind if isinstance(kind, str) else "",
        "hostname": service.hostname,
    }
    meta_labels = {f"__meta_svc_{key}": value for key, value in state.items()}
    return _group(service.url, {**labels, **meta_labels}, path if isinstance(path, str) else None)


def _group(url: str, labels: dict[str, str], path: str | None = None) -> TargetGroup:
    """Return the target group of one URL. `path` is the path of the metrics, by default URL/metrics."""
    parts = parse_service_url(url)
    location = {
        "__scheme__": parts.scheme,
        "__metrics_path__": path or parts.path.rstrip("/") + DEFAULT_METRICS_PATH,
    }
    return {"targets": [parts.authority], "labels": {**location, **labels}}
