"""The OpenAPI document, /openapi.json: each route with its parameters, its responses and its errors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from svc.protocol import openapi
from svc.protocol.event import EVENT_KINDS
from svc.protocol.openapi import JSON_TYPE, TEXT, ErrorResponses, Operation, Schema
from svc.registry import validation
from svc.registry.access.guard import OPEN, WRITE
from svc.registry.event_query import DEFAULT_EVENT_LIMIT
from svc.registry.schemas import EXAMPLE, FLAG_TEXT, NAME, SCHEMAS
from svc.registry.store.contract import MAX_OWN_EVENTS

Route = tuple[str, str, str, str]  # method, path, access, handler

ERRORS = ErrorResponses(
    {
        400: ("wrong-request", "The request is wrong; `param` names the fields, and the message every problem"),
        401: ("no-token", "The token is missing or wrong; requests of this machine need none by default"),
        403: ("not-owner", "`not_owner`: another babysitter owns the name while its lease holds"),
        404: ("unknown", "`unknown_service`: no service of this name is registered; a babysitter registers it again"),
        405: ("no-method", "The path does not have this method"),
        413: ("too-large", "The body is too large"),
        429: ("too-many", "Too many streams, checks, events or services; Retry-After says when to try again"),
        503: ("unavailable", "The registry cannot use its store"),
    }
)
NAME_PARAMETER = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": NAME,
    "example": EXAMPLE["name"],
}
LIST_PARAMETERS: Mapping[str, tuple[Schema, str]] = {
    "status": (TEXT, "only services with this status"),
    "healthy": (FLAG_TEXT, "only services that are healthy (true) or unhealthy (false)"),
    "type": (TEXT, "only services with this type in their metadata; instances have openai-api"),
    "index": (
        {"type": "integer", "minimum": 1 - 10**18, "maximum": 10**18 - 1},
        "the X-Registry-Index of an earlier answer: wait until the revision differs from it",
    ),
    "wait": (
        {"type": "number", "minimum": 0, "maximum": validation.MAX_WAIT_SECONDS},
        "with index: the longest wait, in seconds",
    ),
}
EVENT_PARAMETERS: Mapping[str, tuple[Schema, str]] = {
    "after": (
        {"type": "integer", "minimum": 0, "maximum": 10**18},
        "only events after this id; else the newest",
    ),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": MAX_OWN_EVENTS, "default": DEFAULT_EVENT_LIMIT},
        "the largest number of events",
    ),
    "service": (TEXT, "only events of this service"),
    "kind": (TEXT, f"only events of these kinds, separated by commas: {' '.join(EVENT_KINDS)}"),
    "audit": (FLAG_TEXT, "true: only what operators did, and who did it"),
    "wait": (
        {"type": "number", "minimum": 0},
        f"with after: seconds to wait for the first event, at most {validation.MAX_WAIT_SECONDS:g}",
    ),
}
OPERATIONS = {
    "health": Operation(
        "The state of the registry; a `degraded` one works and names its problem",
        "Health",
        unavailable=("The store fails", "Failing"),
    ),
    "services": Operation(
        "The services, sorted by name; with `index` and `wait`, as soon as something changes",
        "Services",
        errors=(400,),
        query=LIST_PARAMETERS,
        headers={"X-Registry-Index": "The revision: it rises with every change that a reader would notice"},
    ),
    "register": Operation(
        "Registers a service, or replaces its registration",
        "Changed",
        201,
        request="Registration",
        errors=(403, 429),
        description="Registered",
    ),
    "service": Operation("One service", "Service"),
    "update": Operation(
        "Renews the lease, and changes the given fields",
        "Changed",
        request="Change",
        request_required=False,
        errors=(403,),
    ),
    "remove": Operation("Removes a service", "Done", errors=(403,)),
    "heartbeat": Operation(
        "Renews the lease, and may set a new status", "Done", request="Heartbeat", request_required=False, errors=(403,)
    ),
    "load": Operation(
        "Reports the load of an instance's engine: every few seconds, on a connection that stays open",
        "Done",
        request="Load",
        errors=(403,),
    ),
    "report_gpus": Operation("Reports the GPUs of a babysitter's host", "Done", request="HostGpus", errors=(403, 429)),
    "gpus": Operation("The GPUs of all hosts, as they were reported last, without those that are too old", "Hosts"),
    "loads": Operation("The loads that were reported last, without those that are too old", "Loads"),
    "check": Operation("Checks the health of a service now", "Check", errors=(429,)),
    "drain": Operation(
        "For operators: routers send no new requests to the service, until undrain, and move its streams on request",
        "Changed",
        request="Drain",
        request_required=False,
    ),
    "undrain": Operation("For operators: ends the drain", "Changed"),
    "expire": Operation("For operators: ends the leases that a degraded registry keeps", "Expired"),
    "events": Operation(
        "Events, oldest first; with `Accept: text/event-stream`, a stream of events",
        "Events",
        errors=(400, 429),
        query=EVENT_PARAMETERS,
    ),
    "report_events": Operation(
        "For routers, babysitters and commands: reports events of instances, and what operators did",
        "Told",
        201,
        request="Telling",
        errors=(403, 429),
        operation_id="tell",
        description="Recorded",
    ),
    "stats": Operation("Counts of services", "Stats"),
    "metrics_text": Operation("Metrics for Prometheus", ("text/plain", "application/openmetrics-text")),
    "prometheus": Operation("HTTP service discovery for Prometheus: the targets to scrape", "Targets", errors=(400,)),
    "openapi": Operation("This document", (JSON_TYPE,)),
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes; raise KeyError for a route that OPERATIONS does not describe."""
    security_schemes = {
        "token": {"type": "http", "scheme": "bearer"},
        "secret": {"type": "apiKey", "in": "header", "name": "X-Service-Secret"},
    }
    return openapi.document("The registry of infinilm-svc", _operations(routes), SCHEMAS, ERRORS, security_schemes)


def _operations(routes: Iterable[Route]) -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and description of each route."""
    for method, path, access, handler in routes:
        operation = OPERATIONS[handler]
        described = _operation(operation, path, access)
        yield method, openapi.path_template(path), {"operationId": operation.operation_id or handler, **described}


def _operation(operation: Operation, path: str, access: str) -> Schema:
    has_name = "<name>" in path
    errors = {*((400, 413) if operation.request else ()), *((404, 405) if has_name else ())}
    errors |= set() if access == OPEN else {401, 503}
    security: list[Schema] | None = None
    if access != OPEN:
        security = [{}, {"token": []}, *([{"secret": []}, {"token": [], "secret": []}] if access == WRITE else [])]
    return openapi.operation_object(operation, ERRORS, errors, [NAME_PARAMETER] if has_name else [], security)
