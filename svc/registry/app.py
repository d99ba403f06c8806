"""The registry's HTTP API as a table of routes, and the Flask application that serves it."""

import time
from collections.abc import Callable
from functools import cache, partial

import msgspec
from flask import Flask, Response

from svc.base import flask_app
from svc.perimeter.hosts import Hosts
from svc.registry.access.address_policy import AddressPolicy
from svc.registry.access.guard import OPEN, READ, REPORT, WRITE, Guard
from svc.registry.api import RegistryApi
from svc.registry.leases.sweep import LeaseSweep
from svc.registry.metrics import RegistryMetrics
from svc.registry.store.contract import Store
from svc.settings import MAX_SERVICES

API_EXTENSION = "svc.registry.api"  # key in Flask's app.extensions under which the worker finds the RegistryApi
MAX_BODY_BYTES = 256 << 10
# HTTP method, path, access that the client needs (svc/registry/access/guard.py), and the method of RegistryApi.
ROUTES = (
    ("GET", "/health", OPEN, "health"),
    ("GET", "/services", READ, "services"),
    ("POST", "/services", WRITE, "register"),
    ("GET", "/services/<name>", READ, "service"),
    ("PUT", "/services/<name>", WRITE, "update"),
    ("DELETE", "/services/<name>", WRITE, "remove"),
    ("POST", "/services/<name>/heartbeat", WRITE, "heartbeat"),
    ("POST", "/services/<name>/load", WRITE, "load"),
    ("POST", "/services/<name>/gpus", WRITE, "report_gpus"),
    ("GET", "/services/<name>/health", READ, "check"),
    ("POST", "/services/<name>/drain", WRITE, "drain"),
    ("POST", "/services/<name>/undrain", WRITE, "undrain"),
    ("GET", "/loads", READ, "loads"),
    ("GET", "/gpus", READ, "gpus"),
    ("POST", "/expire", WRITE, "expire"),
    ("GET", "/events", READ, "events"),
    ("POST", "/events", REPORT, "report_events"),
    ("GET", "/stats", READ, "stats"),
    ("GET", "/metrics", READ, "metrics_text"),
    ("GET", "/sd/prometheus", READ, "prometheus"),
    ("GET", "/openapi.json", OPEN, "openapi"),
)


@cache
def _document() -> bytes:
    from svc.registry import openapi  # here, because it takes a fortieth of the start, and few clients request it

    return msgspec.json.encode(openapi.document(ROUTES))


def create_app(
    store: Store,
    probe: Callable[[str], int],
    guard: Guard | None = None,
    metrics: RegistryMetrics | None = None,
    sweep: LeaseSweep | None = None,
    clock: Callable[[], float] = time.time,
    address_policy: AddressPolicy | None = None,
    max_services: int = MAX_SERVICES,
    hosts: Hosts | None = None,
) -> Flask:
    """Return the application. `probe` sends a GET to a URL and returns the status code, or 0 if there is no answer.

    Without a `guard`, only this machine may write. Without an `address_policy`, a service may be in any network.
    Without `hosts`, a request may have any Host header.
    """
    app = Flask("svc.registry", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = False  # with merging, a path with an empty service name would match another endpoint
    sweep = sweep or LeaseSweep(store, clock)
    metrics = metrics or RegistryMetrics(store, sweep.health)
    api = RegistryApi(
        store,
        probe,
        guard or Guard(),
        metrics,
        sweep,
        address_policy or AddressPolicy(),
        clock,
        max_services,
        hosts or Hosts(),
        _document,
    )
    for method, path, access, handler in ROUTES:
        view = partial(api.handle, access, getattr(api, handler))
        app.add_url_rule(path, f"{method} {path}", view, methods=[method])
    app.extensions[API_EXTENSION] = api
    flask_app.install_errors(app)
    flask_app.install_version(app)
    app.after_request(_add_challenge)
    return app


def _add_challenge(response: Response) -> Response:
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="registry"'
    return response
