"""What /openapi.json says: every route with what it takes, what it answers, and how it refuses."""

import dataclasses
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from svc.protocol.event import KINDS
from svc.registry import validation
from svc.registry.access.guard import OPEN, WRITE
from svc.registry.event_stream import LIMIT
from svc.registry.schemas import EXAMPLE, FLAG, NAME, SCHEMAS, STATUS, TEXT, Schema, ref
from svc.registry.store.base import MAX_OWN_EVENTS

JSON = "application/json"
Route = tuple[str, str, str, str]  # method, path, who may, handler

REFUSALS = {
    400: ("wrong-request", "What was sent is wrong; `param` names the fields, the message all that is wrong"),
    401: ("no-token", "From another machine: the token is missing or wrong"),
    403: ("not-owner", "`not_owner`: the name is another babysitter's while its lease holds"),
    404: ("unknown", "`unknown_service`: the registry knows no such name; a babysitter registers (again)"),
    405: ("no-method", "The path has other methods"),
    413: ("too-large", "The body is too large"),
    429: ("too-many", "Too many of them: streams, checks, events, services; Retry-After says when to try again"),
    503: ("unavailable", "The registry cannot use its store"),
}
NAMED = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": NAME,
    "example": EXAMPLE["name"],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """`answer` names a schema, or says the media types of a text; `refuses` is beside what every such route may say."""

    summary: str
    answer: str | tuple[str, ...]
    status: int = 200
    takes: str = ""
    refuses: tuple[int, ...] = ()
    query: Mapping[str, tuple[Schema, str]] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


FILTERS: Mapping[str, tuple[Schema, str]] = {
    "status": (STATUS, "only those that are in this state"),
    "healthy": (FLAG, "only those that are healthy, or only those that are not"),
    "type": (TEXT, "only those whose metadata say this type; openai-api: the instances"),
    "index": (
        {"type": "integer", "minimum": 1 - 10**18, "maximum": 10**18 - 1},
        "the X-Registry-Index of an earlier answer: answers as soon as the revision is another",
    ),
    "wait": (
        {"type": "number", "minimum": 0, "maximum": validation.LONGEST_WAIT},
        "with index: answers after so many seconds in any case",
    ),
}
EVENTS: Mapping[str, tuple[Schema, str]] = {
    "after": ({"type": "integer", "minimum": 0, "maximum": 10**18}, "only those after this id; else the newest"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": MAX_OWN_EVENTS, "default": LIMIT}, "no more than so many"),
    "service": (TEXT, "only those of this service"),
    "kind": (TEXT, f"only those of these kinds, joined by commas: {' '.join(KINDS)}"),
    "wait": (
        {"type": "number", "minimum": 0},
        f"at most {validation.LONGEST_WAIT:g}; with after: seconds to wait for the first one",
    ),
}
OPERATIONS = {
    "health": Operation("How the registry is; `degraded` is at work and says why it needs a look", "Health"),
    "services": Operation(
        "The services, by name; with `index` and `wait`, as soon as something changes",
        "Services",
        refuses=(400,),
        query=FILTERS,
        headers={"X-Registry-Index": "The revision: it rises with every change that a reader would see"},
    ),
    "register": Operation(
        "Registers a service, or replaces its registration", "Changed", 201, takes="Registration", refuses=(403, 429)
    ),
    "service": Operation("One service", "Service"),
    "update": Operation("Changes some fields", "Changed", takes="Change", refuses=(403,)),
    "remove": Operation("Takes a service away", "Done", refuses=(403,)),
    "heartbeat": Operation("Renews the lease; may bring a new status", "Done", takes="Heartbeat", refuses=(403,)),
    "check": Operation("Checks its health now", "Check", refuses=(429,)),
    "drain": Operation("Operators: nothing new is sent to it; holds until undrain, whoever registers it", "Changed"),
    "undrain": Operation("Operators: takes the mark away", "Changed"),
    "expire": Operation("Operators: ends the leases that a degraded registry keeps", "Expired"),
    "events": Operation(
        "What happened, oldest first; with `Accept: text/event-stream`, each event as it comes",
        "Events",
        refuses=(400, 429),
        query=EVENTS,
    ),
    "tell": Operation(
        "Routers and babysitters: what happened to an instance",
        "Told",
        201,
        takes="Telling",
        refuses=(403, 429),
    ),
    "stats": Operation("Counts", "Stats"),
    "metrics_text": Operation("Prometheus", ("text/plain", "application/openmetrics-text")),
    "prometheus": Operation("What Prometheus is to scrape: its HTTP service discovery", "Targets", refuses=(400,)),
    "openapi": Operation("This document", (JSON,)),
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes; raises KeyError for one that is not described."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, access, handler in routes:
        operation = _operation(OPERATIONS[handler], path, access)
        paths.setdefault(path.replace("<", "{").replace(">", "}"), {})[method.lower()] = {
            "operationId": handler,
            **operation,
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "The registry of infinilm-svc", "version": _version()},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {name: _refusal(text) for name, text in REFUSALS.values()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "secret": {"type": "apiKey", "in": "header", "name": "X-Service-Secret"},
            },
        },
    }


def _operation(told: Operation, path: str, access: str) -> dict[str, Any]:
    named = "<name>" in path
    refuses = {*told.refuses, *((400, 413) if told.takes else ()), *((404, 405) if named else ())}
    refuses |= set() if access == OPEN else {401, 503}
    answers = {str(told.status): _answer(told), **{str(code): _refused(code) for code in sorted(refuses)}}
    if told.answer == "Health":
        answers["503"] = {"description": "The store fails", "content": _content("Failing")}
    made: dict[str, Any] = {"summary": told.summary, "responses": answers}
    parameters = [NAMED] if named else []
    parameters += [
        {"name": key, "in": "query", "schema": schema, "description": text}
        for key, (schema, text) in told.query.items()
    ]
    if parameters:
        made["parameters"] = parameters
    if told.takes:
        made["requestBody"] = {"required": told.takes != "Heartbeat", "content": _content(told.takes)}
    if access != OPEN:
        made["security"] = [
            {},
            {"token": []},
            *([{"secret": []}, {"token": [], "secret": []}] if access == WRITE else []),
        ]
    return made


def _answer(told: Operation) -> dict[str, Any]:
    if isinstance(told.answer, str):
        content = _content(told.answer)
    else:
        content = {media: {"schema": {"type": "object"} if media == JSON else TEXT} for media in told.answer}
    answer: dict[str, Any] = {"description": "Done" if told.status == 200 else "Registered", "content": content}
    if told.headers:
        answer["headers"] = {key: {"description": text, "schema": TEXT} for key, text in told.headers.items()}
    return answer


def _refusal(text: str) -> dict[str, Any]:
    return {"description": text, "content": _content("Error")}


def _refused(code: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{REFUSALS[code][0]}"}


def _content(schema: str) -> dict[str, Any]:
    return {JSON: {"schema": ref(schema)}}


def _version() -> str:
    try:
        return version("infinilm-svc")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
