"""The registry over HTTP: its routes, and the application that serves them."""

import time
from collections.abc import Callable
from functools import partial

import msgspec
from flask import Flask, Response

from svc.base import flask_app
from svc.perimeter.hosts import Hosts
from svc.registry import openapi
from svc.registry.access.address_policy import Reach
from svc.registry.access.guard import OPEN, READ, REPORT, WRITE, Guard
from svc.registry.api import Api
from svc.registry.leases.sweep import Sweep
from svc.registry.metrics import Metrics
from svc.registry.store.base import Store
from svc.settings import MAX_SERVICES

BODY_LIMIT = 256 << 10
ROUTES = (
    ("GET", "/health", OPEN, "health"),
    ("GET", "/services", READ, "services"),
    ("POST", "/services", WRITE, "register"),
    ("GET", "/services/<name>", READ, "service"),
    ("PUT", "/services/<name>", WRITE, "update"),
    ("DELETE", "/services/<name>", WRITE, "remove"),
    ("POST", "/services/<name>/heartbeat", WRITE, "heartbeat"),
    ("GET", "/services/<name>/health", READ, "check"),
    ("POST", "/services/<name>/drain", WRITE, "drain"),
    ("POST", "/services/<name>/undrain", WRITE, "undrain"),
    ("POST", "/expire", WRITE, "expire"),
    ("GET", "/events", READ, "events"),
    ("POST", "/events", REPORT, "tell"),
    ("GET", "/stats", READ, "stats"),
    ("GET", "/metrics", READ, "metrics_text"),
    ("GET", "/sd/prometheus", READ, "prometheus"),
    ("GET", "/openapi.json", OPEN, "openapi"),
)  # method, path, who may, handler


def create_app(
    store: Store,
    probe: Callable[[str], int],
    guard: Guard | None = None,
    metrics: Metrics | None = None,
    sweep: Sweep | None = None,
    clock: Callable[[], float] = time.time,
    reach: Reach | None = None,
    max_services: int = MAX_SERVICES,
    hosts: Hosts | None = None,
) -> Flask:
    """`probe` tells the status that a URL answers with, 0 where it does not.

    Without a `guard`, only this machine may write; without a `reach`, a service may be in any network; without
    `hosts`, requests may name any host.
    """
    app = Flask("svc.registry", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.url_map.merge_slashes = False  # an empty name is no other path
    sweep = sweep or Sweep(store, clock)
    metrics = metrics or Metrics(store, sweep.condition)
    api = Api(
        store,
        probe,
        guard or Guard(),
        metrics,
        sweep,
        reach or Reach(),
        clock,
        max_services,
        hosts or Hosts(),
        msgspec.json.encode(openapi.document(ROUTES)),
    )
    for method, path, access, handler in ROUTES:
        view = partial(api.answer, access, getattr(api, handler))
        app.add_url_rule(path, f"{method} {path}", view, methods=[method])
    app.extensions["svc.registry.api"] = api  # for the worker, which knows a shorter way
    flask_app.install_errors(app)
    flask_app.install_version(app)
    app.after_request(_challenge)
    return app


def _challenge(answer: Response) -> Response:
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="registry"'
    return answer
