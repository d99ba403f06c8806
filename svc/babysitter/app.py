"""The babysitter's HTTP endpoints. Those of an instance on demand are in `on_demand/endpoints.py`."""

import os
import time
from collections.abc import Callable
from typing import Any

from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.gpu_reporter import GpuReporter
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.monitor import Monitor, model_ids
from svc.babysitter.on_demand import endpoints
from svc.babysitter.on_demand.on_demand_loop import OnDemand
from svc.babysitter.registrar import Registrar
from svc.babysitter.resource_limits import ResourceLimits
from svc.babysitter.restarter import KINDS
from svc.base.errors import SvcError, Unauthorized, Unavailable
from svc.base.json_app import JsonApp, Response, WsgiRequest, json_response
from svc.config.instance.model import InstanceConfig
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.protocol.service import ASLEEP, babysitter_url, iso

SETTING_NAMES = SettingNames("allowed_hosts (under [babysitter] in its TOML)")


def create_app(
    monitor: Monitor,
    registrar: Registrar,
    hang_probe: HangProbe,
    limits: ResourceLimits,
    continuation: ContinuationCheck,
    clock: Callable[[], float] = time.time,
    hosts: Hosts | None = None,
    on_demand: OnDemand | None = None,
    begin_round: Callable[[], object] = lambda: None,
    key: Callable[[], str] = lambda: "",
    gpu_reporter: GpuReporter | None = None,
) -> JsonApp:
    """Return the application. Without `hosts`, a request may have any Host header.

    `begin_round` starts a round of `on_demand` at once. `key` returns the API key of the instance.
    """
    browsers = BrowserRules(hosts or Hosts(), SETTING_NAMES)
    app = JsonApp(lambda request: browsers.check(request.method, request.headers))

    @app.get("/health")
    def health(request: WsgiRequest) -> Response:
        """200 while the instance runs and its engine is ready; otherwise 503, also while the instance is asleep."""
        healthy = monitor.is_healthy()
        return json_response(describe_health(monitor, healthy, clock()), 200 if healthy else 503)

    @app.get("/models")
    @app.get("/v1/models")
    def models(request: WsgiRequest) -> Response:
        """The instance's models; 503 while its engine is not ready."""
        engine_models = monitor.models()
        if not engine_models:
            state = monitor.snapshot.state.value or "not seen yet"
            reason = monitor.engine_status.reason
            raise Unavailable(f"{monitor.config.name} is {state}, and its engine is not ready: {reason}")
        return json_response({"object": "list", "data": engine_models})

    @app.post("/models/refresh")
    def refresh(request: WsgiRequest) -> Response:
        """Read the engine's model list now, register it at once if it has changed, and answer as /models does.

        Any client may send this request, so concurrent requests share one read, and reads begin at least a second
        apart.
        """
        monitor.refresh_models()
        return models(request)

    @app.get("/info")
    def info(request: WsgiRequest) -> Response:
        """Everything that the babysitter knows about its instance, the registrations and the checks."""
        checks = describe_checks(hang_probe, limits, continuation)
        sleep = {"on_demand": on_demand.describe() if on_demand and monitor.config.on_demand else None}
        return json_response(describe_instance(monitor, registrar, clock()) | checks | sleep)

    @app.get("/metrics")
    def metrics_text(request: WsgiRequest) -> Response:
        """The babysitter's metrics, for Prometheus."""
        from svc.babysitter.metrics import BabysitterMetrics  # imported when first needed, because it takes 10 ms

        metrics = BabysitterMetrics(monitor, registrar, hang_probe, limits, on_demand, gpu_reporter)
        text, content_type = metrics.text(request.headers.get("accept") or "")
        return Response(text, content_type=content_type)

    @app.get("/openapi.json")
    def openapi_document(request: WsgiRequest) -> Response:
        """This document (OpenAPI 3.1)."""
        from svc.babysitter import openapi  # imported when first needed, because it takes 6 ms

        return json_response(openapi.document(app.routes()))

    endpoints.install(app, monitor, on_demand, begin_round, key)
    return app


def describe_health(monitor: Monitor, healthy: bool, now: float) -> dict[str, Any]:
    """Return the content of /health."""
    is_asleep = monitor.snapshot.state is LifecycleState.ASLEEP
    return {
        "status": "healthy" if healthy else ASLEEP if is_asleep else "unhealthy",
        "service": monitor.config.name,
        "babysitter": "running",
        "infinilm_server_running": healthy,
        "infinilm_server_port": monitor.config.port,
        "timestamp": iso(now),
    }


def describe_instance(monitor: Monitor, registrar: Registrar, now: float) -> dict[str, Any]:
    """Return the first part of /info: the instance and its registrations."""
    config, snapshot = monitor.config, monitor.snapshot
    process = snapshot.process
    return {
        "name": config.name,
        "host": config.host,
        "port": config.babysitter_port,
        "url": babysitter_url(config.url),
        "service_type": config.backend.type,
        "metadata": describe_metadata(monitor),
        "state": snapshot.state.value or "unknown",
        "models": model_ids(snapshot.models),
        "not_ready": monitor.engine_status.reason or None,
        "misconfigured": monitor.engine_status.misconfigured or isinstance(registrar.refusal, Unauthorized),
        "infinilm_server_port": config.port,
        "infinilm_server_url": config.url,
        "infinilm_server_pid": (process.pid if process else 0) or None,
        "infinilm_server_since": iso(process.since) if process and process.since else None,
        "uptime": round(now - monitor.started, 3),
        "restart_count": process.restarts if process else 0,
        "max_restarts": config.max_restarts,
        "config": config.digest(),
        "restart_reason": (process.reason if process else "") or None,
        "registry_url": registrar.client.urls[0] if registrar.client.urls else None,
        "registry_urls": list(registrar.client.urls),
        "router_url": config.router_url or None,
        "registered": registrar.registered,
        "not_registered": describe_refusal(config, registrar.refusal),
        "last_heartbeat": registrar.last_heartbeat,
        "timestamp": iso(now),
    }


def describe_metadata(monitor: Monitor) -> dict[str, Any]:
    """Return the field `metadata` of /info: the fields of the original's babysitter, and the TOML's [metadata]."""
    config = monitor.config
    own = {"type": config.backend.type, "config_file": os.path.relpath(config.source), "babysitter": "svc"}
    return {**own, "started_at": iso(monitor.started), **config.metadata}


def describe_refusal(config: InstanceConfig, refusal: SvcError | None) -> str | None:
    """Return why the registry refuses the babysitter, or None. For a wrong token, add the setting to change."""
    if refusal is None:
        return None
    cure = (
        f"; token_file in {os.path.relpath(config.source)} names the file with it"
        if isinstance(refusal, Unauthorized)
        else ""
    )
    return refusal.message + cure


def describe_checks(hang_probe: HangProbe, limits: ResourceLimits, continuation: ContinuationCheck) -> dict[str, Any]:
    """Return the second part of /info: the checks that the TOML enables."""
    config, last, verdict = limits.config, hang_probe.last, continuation.verdict
    return {
        "probe": config.probe,
        "probe_result": last.outcome.value if last.outcome else None,
        "probe_reason": last.reason or None,
        "probe_failures": last.failures,
        "probe_time": iso(last.at) if last.at else None,
        "continues": continuation.continues,
        "not_continuing": (verdict.reason if verdict else "") or None,
        "memory": limits.memory,
        "max_memory": config.max_memory or None,
        "restarts_asked": {kind: limits.restarter.counts[kind] for kind in KINDS},
    }
