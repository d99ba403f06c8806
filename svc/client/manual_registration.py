"""Build the registration of a service without a babysitter; find its models and health path by requests to it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from svc.base.address import authority
from svc.base.errors import CommandError
from svc.client import probe
from svc.protocol.service import INSTANCE_TYPE

HEALTH_PATHS = ("/health", *probe.MODEL_LIST_PATHS, "/")  # the first that returns 2xx becomes the health path
TIMEOUT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlainService:
    """An operator's description of a service without a babysitter.

    If `models` or `health_path` is empty, `registration` finds it by requests to the service.
    """

    name: str
    host: str
    port: int
    type: str = INSTANCE_TYPE
    models: Sequence[str] = ()
    health_path: str = ""
    weight: int = 1
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{authority(self.host, self.port)}"


def registration(service: PlainService) -> dict[str, Any]:
    """Return the registration of a service; raise CommandError if its models or health path cannot be found.

    The metadata has `static`: the service needs no heartbeats, and health checks decide whether it gets requests.
    """
    metadata = {
        **service.metadata,
        "type": service.type,
        "static": True,
        "health_url": service.url + (service.health_path or _health_path(service)),
    }
    if service.type == INSTANCE_TYPE:
        models = [{"id": model, "object": "model"} for model in service.models] or _listed_models(service)
        metadata |= {"models": [model["id"] for model in models], "models_list": models}
    return {
        "name": service.name,
        "host": service.host,
        "port": service.port,
        "hostname": service.host,
        "url": service.url,
        "status": "running",
        "weight": service.weight,
        "metadata": metadata,
    }


def _health_path(service: PlainService) -> str:
    statuses: dict[str, int] = {}
    for path in HEALTH_PATHS:
        statuses[path], _ = probe.answer(service.url + path, TIMEOUT_SECONDS, max_body=0, limit_total=True)
        if 200 <= statuses[path] < 300:
            return path
        if not statuses[path]:
            raise CommandError(
                f"nothing answers at {service.url}{path}; start {service.name} first, or give --health-path and --model"
            )
    answers = ", ".join(f"{path} {status}" for path, status in statuses.items())
    raise CommandError(
        f"{service.url} has no path that answers 200 ({answers}); name the one for health checks with --health-path"
    )


def _listed_models(service: PlainService) -> list[dict[str, Any]]:
    listed, status = probe.model_list(service.url, TIMEOUT_SECONDS)
    if not listed:
        reason = f"lists no models at {' or '.join(probe.MODEL_LIST_PATHS)}" if status else "does not answer"
        raise CommandError(f"{service.url} {reason}; name them with --model, or another kind of service with --type")
    return listed
