"""The registry's answers to requests: one method for each route."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from flask import Response, request

from svc.base.errors import Forbidden, Misdirected, NotFound, RateLimited, Unauthorized, Unavailable, body
from svc.client.probe import USER_AGENT
from svc.perimeter.browsers import BrowserRules, Headers, SettingNames
from svc.perimeter.client_socket import polling
from svc.perimeter.hosts import Hosts
from svc.protocol.event import BY_OPERATOR
from svc.protocol.service import Service, iso
from svc.registry import discovery, event_stream, health_checks, validation
from svc.registry.access.address_policy import Reach
from svc.registry.access.guard import WRITE, Guard
from svc.registry.access.identity import Client, identify
from svc.registry.event_reports import Reports
from svc.registry.health_probes import SharedProbe
from svc.registry.heartbeat_fast_path import Heard
from svc.registry.leases import lease, owner
from svc.registry.leases.sweep import Sweep
from svc.registry.list_cache import Listing, counts
from svc.registry.metrics import Metrics
from svc.registry.store.base import Store
from svc.registry.store_health import FAILING, STORE_TROUBLE

log = logging.getLogger(__name__)
SETTING_NAMES = SettingNames("allowed_hosts (--allowed-hosts, or under [registry] in config/svc.toml)")
FULL_RETRY_SECONDS = 60
PLACE = {"host", "port", "hostname", "url", "metadata"}  # the fields that say where a service is


@dataclass
class Api:
    """One method for each route: `client` is who sent the request, `now` the time of it."""

    store: Store
    probe: Callable[[str], int]
    guard: Guard
    metrics: Metrics
    sweep: Sweep
    reach: Reach
    clock: Callable[[], float]
    max_services: int
    hosts: Hosts
    document: bytes  # the OpenAPI document, as JSON

    def __post_init__(self) -> None:
        self.browsers = BrowserRules(self.hosts, SETTING_NAMES)
        self.listing = Listing(self.store)
        self.shared_probe = SharedProbe(self.probe)
        self.streams = event_stream.Streams(self.store)
        self.reports = Reports(self.store, self.clock)
        self.started = self.clock()

    def answer(self, access: str, handler: Callable[..., Any], **path: str) -> Response:
        client = self._identify(request.remote_addr, request.headers)
        try:
            self._admit(access, request.method, client, request.headers)
            answer = handler(client, self.clock(), **path)
        except (Misdirected, Unauthorized, Forbidden):
            self.metrics.refusals.inc()
            raise
        except Unavailable as error:
            self.sweep.condition.failed(error.message)
            if client.may_see_details:
                raise
            raise Unavailable(STORE_TROUBLE) from None
        return answer if isinstance(answer, Response) else _json(answer)

    def _identify(self, peer: str | None, headers: Headers) -> Client:
        return identify(peer, headers, self.browsers.hosts.knows, self.guard.is_operator)

    def _admit(self, access: str, method: str, client: Client, headers: Headers) -> None:
        """Raise the error of a request that may not come in."""
        self.browsers.check(method, headers)
        self.guard.admit(access, client, headers.get("authorization") or "")

    def health(self, client: Client, now: float) -> Response:
        """200 as long as the registry can do its work, were it degraded; 503 when its store fails."""
        condition = self.sweep.condition
        numbers = {}
        try:
            _, services = self.store.snapshot()
            healthy = sum(s.is_healthy() for s in services)
            numbers = {"registered_services": len(services), "healthy_services": healthy}
        except Unavailable as error:
            condition.failed(error.message)
        status, reason = condition.told(detailed=client.may_see_details)
        told = {"status": status, "registry": "running", **numbers, "timestamp": iso(now)}
        if reason:
            told["reason"] = reason
        return _json({**told, **body(Unavailable(reason))}, 503) if status == FAILING else _json(told)

    def services(self, client: Client, now: float) -> Response:
        """To a watcher, when there is something new; the others are told of the last heartbeats too."""
        passes = validation.filters(request.args)
        watched = validation.watch(request.args)
        if watched is None:
            revision, (services_json, total) = self.listing.now(passes)
        else:
            with polling(request.environ):
                index = self.store.wait(*watched)
            revision, (services_json, total) = self.listing.of(index, validation.filter_key(request.args), passes)
        told = b'{"services":%b,"total":%d,"timestamp":"%b"}' % (services_json, total, iso(self.clock()).encode())
        return Response(told, mimetype="application/json", headers={"X-Registry-Index": str(revision)})

    def register(self, client: Client, now: float) -> Response:
        new = msgspec.structs.replace(validation.registration(_body(), now), owner=client.caller or owner.NOBODY)
        self.reach.check(new, client.is_on_own_machine)
        self._check_room(new.name)
        service = self.store.change(new.name, lambda old: lease.registered(old, new, client.caller)) or new
        self.metrics.registrations.inc()
        log.info("%s registered, %s at %s", service.name, service.status, service.url)
        return _json({"message": f"{service.name} is registered", "service": service.to_json()}, 201)

    def service(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return _known(name, self.store.get(name)).to_json()

    def update(self, client: Client, now: float, name: str) -> dict[str, Any]:
        new = validation.changes(_body(), name)
        if PLACE & new.keys():  # names are looked up before the store is held
            moved = msgspec.structs.replace(_known(name, self.store.get(name)), **new)
            self.reach.check(moved, client.is_on_own_machine or not {"host", "url"} & new.keys())
        service = _known(name, self.store.change(name, lambda old: old and lease.changed(old, new, client.caller)))
        log.info("%s changed: %s", name, ", ".join(new))
        return {"message": f"{name} is updated", "service": service.to_json()}

    def remove(self, client: Client, now: float, name: str) -> dict[str, Any]:
        why = "it deregistered" if client.secret_digest else BY_OPERATOR  # only babysitters send a secret
        if not self.store.remove(name, lambda service: owner.check(service, client.caller), why):
            raise _unknown(name)
        self.metrics.removals.labels("request").inc()
        log.info("%s removed", name)
        return {"message": f"{name} is removed", "timestamp": iso(now)}

    def heartbeat(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self._beat(client, now, name, request.get_data(cache=False))

    def short(self, peer: str, heard: Heard) -> bytes:
        """Return the answer to a heartbeat outside of Flask's requests; raise the error of one that is refused."""
        client = self._identify(peer, heard.headers)
        self._admit(WRITE, "POST", client, heard.headers)
        return msgspec.json.encode(self._beat(client, self.clock(), heard.name, heard.body))

    def check(self, client: Client, now: float, name: str) -> dict[str, Any]:
        """Check the service now.

        A request that is itself a health check gets the last verdict, because two registries would otherwise check
        each other without end.
        """
        found = _known(name, self.store.get(name))
        if request.headers.get("User-Agent") != USER_AGENT:
            well = health_checks.passes(found, self.shared_probe(found.health_url(), partial(polling, request.environ)))
            found = msgspec.structs.replace(found, health_status="healthy" if well else "unhealthy")
        now = self.clock()
        return {
            "service": name,
            "health_status": found.health_status,
            "is_healthy": found.is_healthy(),
            "last_heartbeat": found.last_heartbeat,
            "timestamp": iso(now),
        }

    def drain(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self._drained(name, True)

    def undrain(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self._drained(name, False)

    def expire(self, client: Client, now: float) -> dict[str, Any]:
        names = self.sweep.release()
        log.info("the operator ended %d leases", len(names))
        return {"message": f"{len(names)} leases ended", "expired": names, "timestamp": iso(now)}

    def events(self, client: Client, now: float) -> Response:
        """To whoever accepts it as a stream, for as long as he likes."""
        asked = event_stream.asked(request.args, request.headers)
        if "text/event-stream" in request.headers.get("Accept", ""):
            told = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return Response(
                self.streams.open(asked, partial(polling, request.environ)), mimetype="text/event-stream", headers=told
            )
        with polling(request.environ):
            found, last = event_stream.look(self.store, asked)
        return _json({"events": [event.to_json() for event in found], "last": last, "timestamp": iso(self.clock())})

    def tell(self, client: Client, now: float) -> Response:
        stored = self.reports.store(_body(), client, now)
        return _json({"events": [event.to_json() for event in stored], "last": stored[-1].id}, 201)

    def stats(self, client: Client, now: float) -> dict[str, Any]:
        _, services = self.store.snapshot()
        return {**counts(services), "uptime": now - self.started, "timestamp": iso(now)}

    def metrics_text(self, client: Client, now: float) -> Response:
        text, content_type = self.metrics.text(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    def prometheus(self, client: Client, now: float) -> Response:
        own_url = discovery.registry_url(request.host_url, request.headers.get("Host"))
        return _json(discovery.groups(self.store.snapshot()[1], own_url))

    def openapi(self, client: Client, now: float) -> Response:
        return Response(self.document, mimetype="application/json")

    def _check_room(self, name: str) -> None:
        """Raise RateLimited for a new name when max_services are registered."""
        if self.store.get(name) is None and len(self.store.snapshot()[1]) >= self.max_services:
            raise RateLimited(
                f"{self.max_services} services are registered, as many as there may be; remove some (svc remove NAME) "
                "or raise max_services under [registry] in config/svc.toml",
                retry_after=FULL_RETRY_SECONDS,
            )

    def _beat(self, client: Client, now: float, name: str, body: bytes) -> dict[str, Any]:
        if not self.store.heartbeat(name, now, validation.heartbeat(validation.parse(body)), client.caller):
            raise _unknown(name)
        self.metrics.heartbeats.inc()
        return {"message": f"{name} is alive", "timestamp": iso(now)}

    def _drained(self, name: str, drained: bool) -> dict[str, Any]:
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
    return validation.parse(request.get_data(cache=False))


def _json(data: dict[str, Any] | list[Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, mimetype="application/json")
