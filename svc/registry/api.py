"""The handlers of the registry's HTTP API: one method for each route in svc/registry/app.py."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from flask import Response, request

from svc.base.errors import Forbidden, Misdirected, RateLimited, Unauthorized, Unavailable, error_object
from svc.client.probe import USER_AGENT
from svc.perimeter.client_socket import polling
from svc.perimeter.hosts import Hosts
from svc.protocol.event import REGISTRY_SOURCE, Actor, Event
from svc.protocol.gpu_report import MAX_HOSTS
from svc.protocol.service import Service, iso
from svc.registry import discovery, event_query, validation
from svc.registry.access.actor import actor_of
from svc.registry.access.address_policy import AddressPolicy
from svc.registry.access.guard import Admission, Guard
from svc.registry.access.identity import Client
from svc.registry.event_reports import EventReceiver
from svc.registry.health_checker import SharedProbe, is_success
from svc.registry.heartbeats import HeartbeatHandler
from svc.registry.leases import lease, owner
from svc.registry.leases.sweep import LeaseSweep
from svc.registry.list_cache import ListCache, service_counts
from svc.registry.metrics import RegistryMetrics
from svc.registry.registry_health import STORE_FAILING, STORE_TROUBLE
from svc.registry.store.contract import Store

log = logging.getLogger(__name__)
FULL_RETRY_SECONDS = 60
ADDRESS_FIELDS = {"host", "port", "hostname", "url", "metadata"}  # a change of these must pass the address policy
INDEX_HEADER = "X-Registry-Index"


@dataclass
class RegistryApi:
    """The handlers of all routes.

    Each handler gets the `client` that sent the request, and `now`, the time at which the request arrived.
    """

    store: Store
    probe: Callable[[str], int]
    guard: Guard
    metrics: RegistryMetrics
    sweep: LeaseSweep
    address_policy: AddressPolicy
    clock: Callable[[], float]
    max_services: int
    hosts: Hosts
    document: Callable[[], bytes]  # returns the OpenAPI document of this API, as JSON

    def __post_init__(self) -> None:
        self.admission = Admission(self.guard, self.hosts)
        self.heartbeat_handler = HeartbeatHandler(self.store, self.admission, self.metrics, self.clock)
        self.list_cache = ListCache(self.store)
        self.shared_probe = SharedProbe(self.probe)
        self.streams = event_query.EventStreams(self.store)
        self.event_receiver = EventReceiver(self.store, self.clock)
        self.started = self.clock()

    def handle(self, access: str, handler: Callable[..., Any], **path: str) -> Response:
        """Return the response of `handler` to Flask's current request; raise SvcError if the client may not send it."""
        client = self.admission.identify(request.remote_addr, request.headers)
        try:
            self.admission.check(access, request.method, client, request.headers)
            result = handler(client, self.clock(), **path)
        except (Misdirected, Unauthorized, Forbidden):
            self.metrics.refusals.inc()
            raise
        except Unavailable as error:
            self.sweep.health.record_store_failure(error.message)
            if client.may_see_details:
                raise
            raise Unavailable(STORE_TROUBLE) from None
        return result if isinstance(result, Response) else _json(result)

    def health(self, client: Client, now: float) -> Response:
        """Answer 200 while the registry works, even if it is degraded; 503 while its store fails."""
        registry_health = self.sweep.health
        service_numbers = {}
        try:
            _, services = self.store.snapshot()
            healthy = sum(s.is_healthy() for s in services)
            service_numbers = {"registered_services": len(services), "healthy_services": healthy}
        except Unavailable as error:
            registry_health.record_store_failure(error.message)
        status, reason = registry_health.status(detailed=client.may_see_details)
        report = {"status": status, "registry": "running", **service_numbers, "timestamp": iso(now)}
        if reason:
            report["reason"] = reason
        return _json({**report, **error_object(Unavailable(reason))}, 503) if status == STORE_FAILING else _json(report)

    def services(self, client: Client, now: float) -> Response:
        """Return the services with their latest heartbeats.

        With ?index=N, first wait until the revision is no longer N, but at most ?wait= seconds. The list returned after
        such a wait may lack the latest heartbeats.
        """
        passes = validation.parse_filters(request.args)
        watch = validation.parse_watch(request.args)
        if watch is None:
            revision, (services_json, total) = self.list_cache.current(passes)
        else:
            with polling(request.environ):
                reached = self.store.wait(*watch)
            filter_key = validation.filter_key(request.args)
            revision, (services_json, total) = self.list_cache.of_revision(reached, filter_key, passes)
        payload = b'{"services":%b,"total":%d,"timestamp":"%b"}' % (services_json, total, iso(self.clock()).encode())
        return Response(payload, mimetype="application/json", headers={INDEX_HEADER: str(revision)})

    def register(self, client: Client, now: float) -> Response:
        registration = validation.parse_registration(_body(), now)
        new = msgspec.structs.replace(registration, owner=client.caller or owner.ANONYMOUS)
        self.address_policy.check(new, client.is_on_own_machine)
        self._check_service_limit(new.name)
        by_operator = new.is_static() and not client.secret_digest  # as `svc services add` does
        actor = self._actor(client) if by_operator else None
        service = self.store.change(new.name, lambda old: lease.register(old, new, client.caller), actor) or new
        self.metrics.registrations.inc()
        log.info("%s registered, %s at %s", service.name, service.status, service.url)
        return _json({"message": f"{service.name} is registered", "service": service.to_json()}, 201)

    def service(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return _known(name, self.store.get(name)).to_json()

    def update(self, client: Client, now: float, name: str) -> dict[str, Any]:
        new = validation.parse_changes(_body(), name)
        if ADDRESS_FIELDS & new.keys():  # host names are resolved before the store's lock is taken
            moved = msgspec.structs.replace(_known(name, self.store.get(name)), **new)
            self.address_policy.check(moved, client.is_on_own_machine or not {"host", "url"} & new.keys())
        service = _known(name, self.store.change(name, lambda old: old and lease.update(old, new, now, client.caller)))
        if new:
            log.info("%s changed: %s", name, ", ".join(new))
        return {"message": f"{name} is updated", "service": service.to_json()}

    def remove(self, client: Client, now: float, name: str) -> dict[str, Any]:
        why, actor = ("it deregistered", None) if client.secret_digest else ("", self._actor(client))
        if not self.store.remove(name, lambda service: owner.check(service, client.caller, now), why, actor):
            raise validation.unknown_service(name)
        self.metrics.removals.labels("request").inc()
        log.info("%s removed%s", name, f" {actor.text}" if actor else "")
        return {"message": f"{name} is removed", "timestamp": iso(now)}

    def heartbeat(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self.heartbeat_handler.renew_lease(client, now, name, request.get_data(cache=False))

    def load(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self.heartbeat_handler.store_load(client, now, name, request.get_data(cache=False))

    def loads(self, client: Client, now: float) -> Response:
        return _json({"loads": self.store.loads(now), "timestamp": iso(now)})

    def report_gpus(self, client: Client, now: float, name: str) -> dict[str, Any]:
        report = validation.parse_gpus(request.get_data(cache=False))
        if not self.store.put_gpus(name, report, client.caller, now):
            service = self.store.get(name)
            if service is None or service.expired:
                raise validation.unknown_service(name)
            owner.check_heartbeat(service, client.caller)
            raise RateLimited(f"{MAX_HOSTS} hosts report GPUs, as many as may", retry_after=FULL_RETRY_SECONDS)
        return {"message": f"the GPUs of {report.hostname} are known", "timestamp": iso(now)}

    def gpus(self, client: Client, now: float) -> Response:
        return _json({"hosts": self.store.gpus(now), "timestamp": iso(now)})

    def check(self, client: Client, now: float, name: str) -> dict[str, Any]:
        """Check the service now.

        A request from another registry's health check does not start a check, and gets the last known health status.
        Otherwise two registries that are registered with each other would check each other without end.
        """
        service = _known(name, self.store.get(name))
        if request.headers.get("User-Agent") != USER_AGENT:
            status_code = self.shared_probe(service.health_url(), partial(polling, request.environ))
            health_status = "healthy" if is_success(service, status_code) else "unhealthy"
            service = msgspec.structs.replace(service, health_status=health_status)
        now = self.clock()
        return {
            "service": name,
            "health_status": service.health_status,
            "is_healthy": service.is_healthy(),
            "last_heartbeat": service.last_heartbeat,
            "timestamp": iso(now),
        }

    def drain(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self._set_drained(client, name, True, validation.parse_handover(_body()))

    def undrain(self, client: Client, now: float, name: str) -> dict[str, Any]:
        return self._set_drained(client, name, False)

    def expire(self, client: Client, now: float) -> dict[str, Any]:
        names, actor = self.sweep.end_kept_leases(), self._actor(client)
        message = f"{len(names)} leases ended{': ' if names else ''}{', '.join(names)}"
        self.store.add_events([Event(time=now, kind="released", service=REGISTRY_SOURCE, message=message).by(actor)])
        log.info("%d leases ended %s", len(names), actor.text)
        return {"message": f"{len(names)} leases ended", "expired": names, "timestamp": iso(now)}

    def events(self, client: Client, now: float) -> Response:
        """Return events as a list, or as an endless stream if the client accepts server-sent events."""
        query = event_query.parse_event_query(request.args, request.headers)
        if "text/event-stream" in request.headers.get("Accept", ""):
            stream = self.streams.open(query, partial(polling, request.environ))
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return Response(stream, mimetype="text/event-stream", headers=headers)
        with polling(request.environ):
            events, last = event_query.read_events(self.store, query)
        return _json({"events": [event.to_json() for event in events], "last": last, "timestamp": iso(self.clock())})

    def report_events(self, client: Client, now: float) -> Response:
        stored = self.event_receiver.receive(_body(), client, self._actor(client), now)
        return _json({"events": [event.to_json() for event in stored], "last": stored[-1].id}, 201)

    def stats(self, client: Client, now: float) -> dict[str, Any]:
        _, services = self.store.snapshot()
        return {**service_counts(services), "uptime": now - self.started, "timestamp": iso(now)}

    def metrics_text(self, client: Client, now: float) -> Response:
        text, content_type = self.metrics.exposition(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    def prometheus(self, client: Client, now: float) -> Response:
        own_url = discovery.registry_url(request.host_url, request.headers.get("Host"))
        return _json(discovery.target_groups(self.store.snapshot()[1], own_url))

    def openapi(self, client: Client, now: float) -> Response:
        return Response(self.document(), mimetype="application/json")

    def _check_service_limit(self, name: str) -> None:
        """Raise RateLimited if `name` is new and `max_services` services are registered already."""
        if self.store.get(name) is None and len(self.store.snapshot()[1]) >= self.max_services:
            raise RateLimited(
                f"{self.max_services} services are registered, as many as there may be; remove some (svc remove NAME) "
                "or raise max_services under [registry] in config/svc.toml",
                retry_after=FULL_RETRY_SECONDS,
            )

    def _actor(self, client: Client) -> Actor:
        """Return the actor of Flask's current request, for the audit."""
        return actor_of(client, request.headers, not self.guard.loopback_needs_token)

    def _set_drained(self, client: Client, name: str, drained: bool, handover: bool = False) -> dict[str, Any]:
        actor = self._actor(client)
        service = _known(name, self.store.drain(name, drained, actor, handover))
        log.info("%s %s%s %s", name, "drained" if drained else "undrained", " with handover" * handover, actor.text)
        return {"message": f"{name} is {'drained' if drained else 'not drained'}", "service": service.to_json()}


def _known(name: str, service: Service | None) -> Service:
    if service is None:
        raise validation.unknown_service(name)
    return service


def _body() -> dict[str, Any]:
    return validation.parse_body(request.get_data(cache=False))


def _json(data: dict[str, Any] | list[Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, mimetype="application/json")
