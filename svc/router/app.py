"""The Flask app: the router's own endpoints, and the relay of all other requests, under any WSGI server.

The router's own worker does not pass relayed requests to this app: it passes them to `forward` itself.
"""

import time
from functools import cache
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, current_app, g, redirect, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as WerkzeugResponse

from svc.base import flask_app
from svc.base.address import is_loopback
from svc.base.errors import Forbidden, NotFound
from svc.perimeter.proxy_headers import names_proxy
from svc.protocol.service import ASLEEP, iso
from svc.router.access import identify, identify_unrestricted
from svc.router.balance.target import Target
from svc.router.http.allowed_paths import is_own
from svc.router.http.cors import cors_headers, is_preflight, preflight_headers
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.trusted_proxies import client_of, is_among, peer_address
from svc.router.proxy.wsgi_relay import OpenExchanges, relay
from svc.router.state import RouterState
from svc.router.ui.app import PAGE_PATH, page
from svc.router.ui.feed import Feed
from svc.router.usage.endpoint import usage_endpoint
from svc.router.waking.endpoint import wake_endpoints
from svc.router.wsgi import uri_of

# Probes and Prometheus read these paths without a key.
PATHS_WITHOUT_KEY = (
    "/health",
    "/status",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
PATHS_WITH_ALL_MODELS = ("/services", "/stats")


class ModelId(BaseConverter):
    """The URL converter for a model's id, which may be any text. An id that is a file's path begins with a slash."""

    regex = ".+"
    part_isolating = False


def create_app(state: RouterState, open_exchanges: OpenExchanges | None = None, feed: Feed | None = None) -> Flask:
    """Return the app without starting anything: the caller runs the loops that keep the arguments up to date."""
    open_exchanges = open_exchanges or OpenExchanges(state)
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # only the default provider has this attribute
    flask_app.install_errors(app)
    flask_app.install_version(app)
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = ModelId
    app.register_blueprint(endpoints(state))
    app.register_blueprint(page(state, feed or Feed(state)))
    app.register_blueprint(usage_endpoint(state))
    app.register_blueprint(wake_endpoints(state))

    @app.get("/")
    def root() -> WerkzeugResponse:
        """Redirects a browser to the page at /ui; other requests for `/` are relayed or refused."""
        response = redirect(PAGE_PATH)
        response.headers["Vary"] = "Accept"
        return response

    @app.before_request
    def preflight_or_relay() -> Response | None:
        """Answer a CORS preflight, relay a request for an instance, and check the origin of any other request."""
        if is_preflight(request.method, request.headers.__contains__):
            return preflight(state)
        method, uri = request.method.encode("latin-1"), uri_of(request.environ)
        accept = request.headers.get("Accept", "").encode("latin-1")
        if not is_own(method, uri) and not state.head_cache.rules.paths.opens_page(method, uri, accept):
            return relay(state, open_exchanges)
        state.browsers.check(request.method, request.headers, _from_proxy(state))
        return None

    @app.after_request
    def allow_origin(response: Response) -> Response:
        """Add the CORS headers: only with them does a browser let a page of another origin read the response."""
        for name, value in cors_headers(state.browsers, request.headers.get("Origin")):
            response.headers.add(name, value)
        return response

    return app


def preflight(state: RouterState) -> Response:
    """Return the response to a CORS preflight from a page of an allowed origin; raise SvcError for any other origin."""
    rules, headers = state.browsers, request.headers
    rules.check(request.method, headers, _from_proxy(state))
    origin = headers["Origin"]
    if not rules.allows(origin):
        raise rules.cross_origin(origin)
    private_network = headers.get("Access-Control-Request-Private-Network") == "true"
    requested = headers.get("Access-Control-Request-Headers", "")
    response = Response(status=204)
    for name, value in preflight_headers(requested, private_network):
        response.headers[name] = value
    return response


def _from_proxy(state: RouterState) -> bool:
    return is_among(peer_address(request.remote_addr or ""), state.trusted)


def endpoints(state: RouterState) -> Blueprint:
    own = Blueprint("own", __name__)

    @own.before_request
    def require_key() -> None:
        """Raise Unauthorized if clients need keys, the request has none, and its path is not in PATHS_WITHOUT_KEY.

        A client that `metrics_networks` does not admit also needs a key for /metrics. If the router has no keys, raise
        Forbidden for such a client.
        """
        if request.path == "/metrics" and not _may_read_metrics(state):
            if state.keys is None:
                raise Forbidden(
                    "your address may not read the metrics; the router's operator has to add its network "
                    "to metrics_networks"
                )
            identify(state)
        elif request.path in PATHS_WITH_ALL_MODELS:
            identify_unrestricted(state)
        elif request.path not in PATHS_WITHOUT_KEY:
            g.key = identify(state)

    @own.get("/livez")
    def livez() -> dict[str, str]:
        """200 while the process runs."""
        return {"status": "alive"}

    @own.get("/readyz")
    def readyz() -> tuple[dict[str, str], int]:
        """503 until there is a table, and while the router drains."""
        if state.draining:
            return {"status": "draining"}, 503
        return ({"status": "ready"}, 200) if state.ready else ({"status": "waiting for the registry"}, 503)

    @own.get("/health")
    @own.get("/status")
    def health() -> dict[str, Any]:
        """The router's own state, and how many instances can be used."""
        table, origin, age = state.balancer.table, state.origin, state.table_age()
        known, usable = len(table.targets), len(table.candidates)
        return {
            "status": "healthy" if usable or table.asleep else "degraded",
            "router": "draining" if state.draining else "running",
            "healthy_services": f"{usable}/{known}",
            "registry_url": state.settings.registry_url or None,
            "table_source": origin.source if origin else None,
            "table_age_seconds": None if age is None else round(age, 1),
            "message": f"{usable} of {known} instances can be used",
            "timestamp": iso(time.time()),
        }

    @own.get("/models")
    @own.get("/v1/models")
    def models() -> dict[str, Any]:
        """Each model that an instance can serve now, or that a request would wake (`asleep` is true)."""
        return {"object": "list", "data": list(_models(state, g.key).values())}

    @own.get("/v1/models/<id:model>")
    def model(model: str) -> dict[str, Any]:
        """One model; 404 when no instance that can be used has it."""
        entry = _models(state, g.key).get(model)
        if entry is None:
            raise NotFound(f"The model '{model}' does not exist", param="model", code="model_not_found")
        return entry

    @own.get("/services")
    def list_services() -> dict[str, Any]:
        """Every instance that the router knows, with its counts."""
        services = _services(state)
        return {"services": services, "total": len(services), "registry_url": state.settings.registry_url or None}

    @own.get("/stats")
    def stats() -> dict[str, Any]:
        """Every instance with its counts, and the sums over all instances."""
        services = _services(state)
        return {
            "total_services": len(services),
            "healthy_services": len(state.balancer.table.candidates),
            "asleep": sum(s["status"] == ASLEEP for s in services),
            "total_requests": sum(s["request_count"] for s in services),
            "total_errors": sum(s["error_count"] for s in services),
            "in_flight": sum(s["in_flight"] for s in services),
            "waiting": state.balancer.queue.waiting,
            "retries": state.balancer.retries,
            "resumptions": state.statistics.resumptions_by_outcome(),
            "registry_url": state.settings.registry_url or None,
            "services": services,
        }

    @own.get("/metrics")
    def prometheus() -> Response:
        """The router's metrics for Prometheus."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        from svc.router.telemetry.metrics import RouterMetrics  # imported only when needed: it takes 1.5 MB

        registry = CollectorRegistry()
        registry.register(RouterMetrics(state))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    @cache
    def openapi_bytes() -> bytes:
        from svc.router import openapi  # imported only when needed, to save memory

        return msgspec.json.encode(openapi.document(flask_app.routes(current_app)))

    @own.get("/openapi.json")
    def openapi_document() -> Response:
        """This document (OpenAPI 3.1)."""
        return Response(openapi_bytes(), content_type="application/json")

    return own


def _may_read_metrics(state: RouterState) -> bool:
    """Return whether `metrics_networks` is empty or contains the client's address, or the client is on this machine."""
    networks = state.metrics_networks
    if not networks:
        return True
    forwarded = request.headers.get("X-Forwarded-For", "").encode("latin-1")
    client = client_of(peer_address(request.remote_addr or ""), forwarded, state.trusted)
    return is_among(client, networks) or (is_loopback(client) and not names_proxy(request.headers))


def _models(state: RouterState, key: ApiKey | None) -> dict[str, dict[str, Any]]:
    """Return a dict from the name of each model and alias to its entry in /v1/models.

    It contains only names for which a request with this key would get an instance now, or have one woken.
    """
    models: dict[str, dict[str, Any]] = {}
    table = state.balancer.table
    for name, pool in table.by_model.items():
        if pool.members:
            models[name] = _model(name, pool.members[0].target)
    for target in table.targets if table.asleep else ():
        for name in target.models if target.is_on_demand and not target.drained else ():
            if name in table.asleep and name not in models:
                models[name] = _model(name, target) | {"asleep": True}
    for alias, model in state.balancer.aliases.items():
        if model in models:
            models.setdefault(alias, models[model] | {"id": alias})
    return models if key is None else {name: entry for name, entry in models.items() if key.allows(name)}


def _model(name: str, target: Target) -> dict[str, Any]:
    """Return the entry of a model for /v1/models: the instance's own entry, with defaults for missing fields."""
    listed = target.metadata.get("models_list")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    entry = next((entry for entry in entries if entry.get("id") == name), {})
    return {"id": name, "object": "model", "created": 0, "owned_by": target.name} | entry


def _services(state: RouterState) -> list[dict[str, Any]]:
    return [_service(state, target) for target in state.balancer.table.targets]


def _service(state: RouterState, target: Target) -> dict[str, Any]:
    statistics = state.statistics.instances.get(target.name)
    check_age = state.health.seconds_since_check(target.name)
    return {
        "name": target.name,
        "host": target.host,
        "port": target.port,
        "url": target.url,
        "babysitter_url": target.babysitter_url,
        "healthy": target.name in state.balancer.table.candidates,
        "status": target.status,
        "drained": target.drained,
        "ejected": state.health.is_ejected(target.name),
        "failing": state.health.is_failing(target, state.balancer.table),
        "last_check": 0.0 if check_age is None else round(time.time() - check_age, 3),
        "request_count": statistics.requests if statistics else 0,
        "error_count": statistics.errors if statistics else 0,
        "response_time": round(statistics.mean_seconds(), 6) if statistics else 0.0,
        "in_flight": state.balancer.loads.get(target.name, 0),
        "load": load.values() if (load := state.loads.get(target.name)) else None,
        "weight": target.weight,
        "models": list(target.models),
        "metadata": target.metadata,
    }
