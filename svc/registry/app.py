"""The registry over HTTP."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

import msgspec
from flask import Flask, Response, request

from svc import web
from svc.errors import BadRequest, Forbidden, Misdirected, NotFound, RateLimited, Unauthorized, Unavailable, body
from svc.event import BY_OPERATOR
from svc.instance import Service, iso
from svc.networks import is_assigned
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.probe import USER_AGENT
from svc.registry import checks, discovery, events, fields, lease, openapi, owner
from svc.registry.condition import FAILING, STORE_TROUBLE
from svc.registry.guard import OPEN, READ, TELL, WRITE, Guard, is_near
from svc.registry.listing import Listing
from svc.registry.metrics import Metrics
from svc.registry.probes import SharedProbe
from svc.registry.reach import Reach
from svc.registry.reports import Reporter, Reports
from svc.registry.short import Heard
from svc.registry.store import Store
from svc.registry.sweep import Sweep
from svc.service_url import is_service_url
from svc.settings import MAX_SERVICES

log = logging.getLogger(__name__)
BODY_LIMIT = 256 << 10
SETTING_NAMES = SettingNames("allowed_hosts (--allowed-hosts, or under [registry] in config/svc.toml)")
FULL_RETRY_SECONDS = 60
PLACE = {"host", "port", "hostname", "url", "metadata"}  # the fields that say where a service is
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
    ("POST", "/events", TELL, "tell"),
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
    api = Api(store, probe, guard or Guard(), metrics, sweep, reach or Reach(), clock, max_services, hosts or Hosts())
    for method, path, access, handler in ROUTES:
        view = partial(api.answer, access, getattr(api, handler))
        app.add_url_rule(path, f"{method} {path}", view, methods=[method])
    app.extensions["svc.registry.api"] = api  # for the worker, which knows a shorter way
    web.install_errors(app)
    web.install_version(app)
    app.after_request(_challenge)
    return app


class Api:
    """One method for each route; `now` is the moment of the request."""

    def __init__(
        self,
        store: Store,
        probe: Callable[[str], int],
        guard: Guard,
        metrics: Metrics,
        sweep: Sweep,
        reach: Reach,
        clock: Callable[[], float],
        max_services: int,
        hosts: Hosts,
    ) -> None:
        self.store = store
        self.browsers = BrowserRules(hosts, SETTING_NAMES)
        self.listing = Listing(store)
        self.probe = SharedProbe(probe)
        self.guard = guard
        self.metrics = metrics
        self.sweep = sweep
        self.clock = clock
        self.reach = reach
        self.max_services = max_services
        self.started = clock()
        self.streams = events.Streams(store)
        self.reports = Reports(store, clock)
        self.document = msgspec.json.encode(openapi.document(ROUTES))

    def answer(self, access: str, handler: Callable[..., Any], **path: str) -> Response:
        try:
            self.admit(access, request.method, request.remote_addr, request.headers)
            answer = handler(self.clock(), **path)
        except (Misdirected, Unauthorized, Forbidden):
            self.metrics.refusals.inc()
            raise
        except Unavailable as error:
            self.sweep.condition.failed(error.message)
            if self._is_trusted():
                raise
            raise Unavailable(STORE_TROUBLE) from None
        return answer if isinstance(answer, Response) else _json(answer)

    def admit(self, access: str, method: str, peer: str | None, headers: Any) -> None:
        """Raise what refuses a request; `headers` finds names in lower case."""
        self.browsers.check(method, headers)
        self.guard.admit(access, peer, self._is_distant(headers), headers.get("authorization") or "")

    def health(self, now: float) -> Response:
        """200 as long as the registry can do its work, were it degraded; 503 when its store fails."""
        condition = self.sweep.condition
        counts = {}
        try:
            _, services = self.store.snapshot()
            healthy = sum(s.is_healthy() for s in services)
            counts = {"registered_services": len(services), "healthy_services": healthy}
        except Unavailable as error:
            condition.failed(error.message)
        status, reason = condition.told(detailed=self._is_trusted())
        told = {"status": status, "registry": "running", **counts, "timestamp": iso(now)}
        if reason:
            told["reason"] = reason
        return _json({**told, **body(Unavailable(reason))}, 503) if status == FAILING else _json(told)

    def services(self, now: float) -> Response:
        """To a watcher, when there is something new; the others are told of the last heartbeats too."""
        passes = fields.filters(request.args)
        watched = fields.watch(request.args)
        if watched is None:
            revision, encoded = self.listing.now(passes)
        else:
            revision, encoded = self.listing.of(self.store.wait(*watched), fields.filter_key(request.args), passes)
        services_json, total = encoded
        told = b'{"services":%b,"total":%d,"timestamp":"%b"}' % (services_json, total, iso(self.clock()).encode())
        return Response(told, mimetype="application/json", headers={"X-Registry-Index": str(revision)})

    def register(self, now: float) -> Response:
        caller = self._caller(request.headers)
        new = msgspec.structs.replace(fields.registration(_body(), now), owner=caller or owner.NOBODY)
        self.reach.check(new, self._is_from_this_machine())
        self._check_room(new.name)
        service = self.store.change(new.name, lambda old: lease.registered(old, new, caller)) or new
        self.metrics.registrations.inc()
        log.info("%s registered, %s at %s", service.name, service.status, service.url)
        return _json({"message": f"{service.name} is registered", "service": service.to_json()}, 201)

    def service(self, now: float, name: str) -> dict[str, Any]:
        return _known(name, self.store.get(name)).to_json()

    def update(self, now: float, name: str) -> dict[str, Any]:
        new = fields.changes(_body(), name)
        caller = self._caller(request.headers)
        if PLACE & new.keys():  # names are looked up before the store is held
            moved = msgspec.structs.replace(_known(name, self.store.get(name)), **new)
            self.reach.check(moved, self._is_from_this_machine() or not {"host", "url"} & new.keys())
        service = _known(name, self.store.change(name, lambda old: old and lease.changed(old, new, caller)))
        log.info("%s changed: %s", name, ", ".join(new))
        return {"message": f"{name} is updated", "service": service.to_json()}

    def remove(self, now: float, name: str) -> dict[str, Any]:
        caller = self._caller(request.headers)
        why = "it deregistered" if caller else BY_OPERATOR  # a secret is shown by babysitters only
        if not self.store.remove(name, lambda service: owner.check(service, caller), why):
            raise _unknown(name)
        self.metrics.removals.labels("request").inc()
        log.info("%s removed", name)
        return {"message": f"{name} is removed", "timestamp": iso(now)}

    def heartbeat(self, now: float, name: str) -> dict[str, Any]:
        return self._beat(now, name, request.headers, request.get_data(cache=False))

    def short(self, peer: str, heard: Heard) -> bytes:
        """Answers a heartbeat that no proxy passed on, outside of Flask's requests; raises what refuses it."""
        self.admit(WRITE, "POST", peer, heard.headers)
        return msgspec.json.encode(self._beat(self.clock(), heard.name, heard.headers, heard.body))

    def check(self, now: float, name: str) -> dict[str, Any]:
        """Asks now, and tells what this one check found; the thresholds are for the rounds.

        A health check (of another registry, or of this one by another name) gets the last verdict: else two that
        check each other would do so for ever.
        """
        found = _known(name, self.store.get(name))
        if request.headers.get("User-Agent") != USER_AGENT:
            well = checks.passes(found, self.probe(found.health_url()))
            found = msgspec.structs.replace(found, health_status="healthy" if well else "unhealthy")
        now = self.clock()
        return {
            "service": name,
            "health_status": found.health_status,
            "is_healthy": found.is_healthy(),
            "last_heartbeat": found.last_heartbeat,
            "timestamp": iso(now),
        }

    def drain(self, now: float, name: str) -> dict[str, Any]:
        return self._drained(now, name, True)

    def undrain(self, now: float, name: str) -> dict[str, Any]:
        return self._drained(now, name, False)

    def expire(self, now: float) -> dict[str, Any]:
        names = self.sweep.release()
        log.info("the operator ended %d leases", len(names))
        return {"message": f"{len(names)} leases ended", "expired": names, "timestamp": iso(now)}

    def events(self, now: float) -> Response:
        """To whoever accepts it as a stream, for as long as he likes."""
        asked = events.asked(request.args, request.headers)
        if "text/event-stream" in request.headers.get("Accept", ""):
            told = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return Response(self.streams.open(asked), mimetype="text/event-stream", headers=told)
        found, last = events.look(self.store, asked)
        return _json({"events": [event.to_json() for event in found], "last": last, "timestamp": iso(self.clock())})

    def tell(self, now: float) -> Response:
        caller = self._caller(request.headers)
        reporter = Reporter(caller, self._peer(), self._is_near() or caller is owner.OPERATOR)
        found = self.reports.take(_body(), reporter, now)
        return _json({"events": [event.to_json() for event in found], "last": found[-1].id}, 201)

    def stats(self, now: float) -> dict[str, Any]:
        _, services = self.store.snapshot()
        healthy = sum(s.is_healthy() for s in services)
        return {
            "total_services": len(services),
            "healthy_services": healthy,
            "unhealthy_services": len(services) - healthy,
            "status_distribution": Counter(s.status for s in services),
            "host_distribution": Counter(s.host for s in services),
            "uptime": now - self.started,
            "timestamp": iso(now),
        }

    def metrics_text(self, now: float) -> Response:
        text, content_type = self.metrics.text(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    def prometheus(self, now: float) -> Response:
        _, services = self.store.snapshot()
        if not is_service_url(request.host_url):
            raise BadRequest("Host: no address of this registry; ask it by the one that you have", param="Host")
        return _json(discovery.groups(services, request.host_url))

    def openapi(self, now: float) -> Response:
        return Response(self.document, mimetype="application/json")

    def _is_distant(self, headers: Any) -> bool:
        """Return whether a loopback peer proves nothing: a proxy passed it on, or a page on a rebound name sent it."""
        host = headers.get("host")
        rebound = host is not None and not self.browsers.hosts.knows(host)
        return "x-forwarded-for" in headers or "forwarded" in headers or rebound

    def _is_near(self) -> bool:
        return is_near(request.remote_addr, self._is_distant(request.headers))

    def _is_from_this_machine(self) -> bool:
        """Return whether it comes from here, by loopback or from another of this machine's addresses."""
        return not self._is_distant(request.headers) and is_assigned(ip_address(request.remote_addr or "0.0.0.0"))

    def _peer(self) -> str:
        """Return where a request comes from, as far as that is certain: a proxy says nothing of where it got it."""
        return f"{'proxy-' if self._is_distant(request.headers) else ''}{request.remote_addr or 'unknown'}"

    def _check_room(self, name: str) -> None:
        """Raises RateLimited for a new name where there are as many as there may be."""
        if self.store.get(name) is None and len(self.store.snapshot()[1]) >= self.max_services:
            raise RateLimited(
                f"{self.max_services} services are registered, as many as there may be; remove some (svc remove NAME) "
                "or raise max_services under [registry] in config/svc.toml",
                retry_after=FULL_RETRY_SECONDS,
            )

    def _is_trusted(self) -> bool:
        """Whether paths of this machine may be told: to this machine, and to whoever has the token."""
        return self._is_near() or self.guard.is_operator(request.headers.get("Authorization", ""))

    def _caller(self, headers: Any) -> owner.Caller:
        """Who asks: a secret is what counts, where one is shown; else the token, if it is."""
        secret = headers.get("x-service-secret", "")
        if not secret and self.guard.is_operator(headers.get("authorization", "")):
            return owner.OPERATOR
        return owner.digest(secret)

    def _beat(self, now: float, name: str, headers: Any, body: bytes) -> dict[str, Any]:
        """`headers` knows names in lower case."""
        if not self.store.heartbeat(name, now, fields.heartbeat(fields.parse(body)), self._caller(headers)):
            raise _unknown(name)
        self.metrics.heartbeats.inc()
        return {"message": f"{name} is alive", "timestamp": iso(now)}

    def _drained(self, now: float, name: str, drained: bool) -> dict[str, Any]:
        service = _known(name, self.store.drain(name, drained))
        log.info("%s %s by the operator", name, "drained" if drained else "undrained")
        return {"message": f"{name} is {'drained' if drained else 'not drained'}", "service": service.to_json()}


def _known(name: str, service: Service | None) -> Service:
    if service is None:
        raise _unknown(name)
    return service


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"no service {name!r} is registered; register it with POST /services", param="name", code="unknown_service"
    )


def _body() -> dict[str, Any]:
    return fields.parse(request.get_data(cache=False))


def _json(data: dict[str, Any] | list[Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, mimetype="application/json")


def _challenge(answer: Response) -> Response:
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="registry"'
    return answer
