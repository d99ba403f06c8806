"""The babysitter's HTTP: /health, /models, /models/refresh, /info, /metrics."""

import os
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request

from svc.babysitter.hang_probe import Prober
from svc.babysitter.limits import Limits
from svc.babysitter.metrics import Metrics
from svc.babysitter.monitor import Babysitter, ids
from svc.babysitter.registrar import Registrar
from svc.babysitter.restarter import KINDS
from svc.base.errors import SvcError, Unauthorized, Unavailable
from svc.base.flask_app import install_errors, install_version
from svc.config.instance.digest import digest
from svc.config.instance.model import InstanceConfig
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.protocol.service import babysitter_url, iso

SETTING_NAMES = SettingNames("allowed_hosts (under [babysitter] in its TOML)")


def create_app(
    sitter: Babysitter,
    registrar: Registrar,
    prober: Prober,
    limits: Limits,
    clock: Callable[[], float] = time.time,
    hosts: Hosts | None = None,
) -> Flask:
    """Without `hosts`, requests may name any host."""
    app = Flask(__name__, static_folder=None)
    install_errors(app)
    install_version(app)
    browsers = BrowserRules(hosts or Hosts(), SETTING_NAMES)
    app.before_request(lambda: browsers.check(request.method, request.headers))
    metrics = Metrics(sitter, registrar, prober, limits)

    @app.get("/health")
    def health() -> tuple[Response, int]:
        """200 while the instance runs and its engine is ready, else 503."""
        runs = sitter.runs()
        return jsonify(describe_health(sitter, runs, clock())), 200 if runs else 503

    @app.get("/models")
    @app.get("/v1/models")
    def models() -> Response:
        """The instance's models; 503 while its engine is not ready."""
        found = sitter.models()
        if not found:
            state = sitter.picture.state.value or "not seen yet"
            raise Unavailable(f"{sitter.config.name} is {state}, and its engine is not ready: {sitter.answers.reason}")
        return jsonify({"object": "list", "data": found})

    @app.post("/models/refresh")
    def refresh() -> Response:
        """Look at the engine's model list now: what has changed is registered at once; the answer is that of /models.

        Anybody may: callers share one look, and there is at most one a second.
        """
        sitter.refresh()
        return models()

    @app.get("/info")
    def info() -> Response:
        """All that is known of the instance, and of what was done about it."""
        return jsonify(describe(sitter, registrar, clock()) | describe_checks(prober, limits))

    @app.get("/metrics")
    def metrics_text() -> Response:
        """For Prometheus."""
        text, content_type = metrics.text(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    return app


def describe_health(sitter: Babysitter, runs: bool, now: float) -> dict[str, Any]:
    return {
        "status": "healthy" if runs else "unhealthy",
        "service": sitter.config.name,
        "babysitter": "running",
        "infinilm_server_running": runs,
        "infinilm_server_port": sitter.config.port,
        "timestamp": iso(now),
    }


def describe(sitter: Babysitter, registrar: Registrar, now: float) -> dict[str, Any]:
    config, picture = sitter.config, sitter.picture
    sighting = picture.sighting
    return {
        "name": config.name,
        "host": config.host,
        "port": config.babysitter_port,
        "url": babysitter_url(config.url),
        "service_type": config.backend.type,
        "state": picture.state.value or "unknown",
        "models": ids(picture.models),
        "not_ready": sitter.answers.reason or None,
        "misconfigured": sitter.answers.misconfigured or isinstance(registrar.refusal, Unauthorized),
        "infinilm_server_port": config.port,
        "infinilm_server_url": config.url,
        "infinilm_server_pid": (sighting.pid if sighting else 0) or None,
        "infinilm_server_since": iso(sighting.since) if sighting and sighting.since else None,
        "uptime": round(now - sitter.born, 3),
        "restart_count": sighting.restarts if sighting else 0,
        "max_restarts": config.max_restarts,
        "config": digest(config),
        "restart_reason": (sighting.reason if sighting else "") or None,
        "registry_url": registrar.client.urls[0] if registrar.client.urls else None,
        "registry_urls": list(registrar.client.urls),
        "router_url": config.router_url or None,
        "registered": registrar.registered,
        "not_registered": describe_refusal(config, registrar.refusal),
        "last_heartbeat": registrar.last_heartbeat,
        "timestamp": iso(now),
    }


def describe_refusal(config: InstanceConfig, refusal: SvcError | None) -> str | None:
    """Return why the registry refuses the babysitter, with the setting that cures it where that is a token."""
    if refusal is None:
        return None
    cure = (
        f"; token_file in {os.path.relpath(config.source)} names the file with it"
        if isinstance(refusal, Unauthorized)
        else ""
    )
    return refusal.message + cure


def describe_checks(prober: Prober, limits: Limits) -> dict[str, Any]:
    """What was looked at more closely, where the TOML asks for it."""
    config, last = limits.config, prober.last
    return {
        "probe": config.probe,
        "probe_result": last.sign.value if last.sign else None,
        "probe_reason": last.why or None,
        "probe_failures": last.failures,
        "probe_time": iso(last.at) if last.at else None,
        "memory": limits.memory,
        "max_memory": config.max_memory or None,
        "restarts_asked": {kind: limits.remedy.counts[kind] for kind in KINDS},
    }
