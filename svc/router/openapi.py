"""The OpenAPI document, /openapi.json: the router's own endpoints, and the requests that it relays."""

import re
from collections.abc import Iterable, Iterator

from svc.base.route import Route
from svc.protocol import openapi
from svc.protocol.openapi import (
    COUNT,
    ERROR_SCHEMAS,
    FLAG,
    JSON_TYPE,
    TEXT,
    TIMESTAMP,
    ErrorResponses,
    Operation,
    Schema,
    list_of,
    nullable,
    open_object,
    ref,
)
from svc.protocol.service import STATUSES
from svc.protocol.usage import COUNT_NAMES, DIMENSIONS
from svc.router.http.allowed_paths import AUXILIARY, INFERENCE, ROUTE_PATH

DESCRIPTION = (
    "The router answers the paths tagged `router` itself and relays all others to an instance of the request's model. "
    "A path that begins with /v1 is also relayed without it. On /v1/messages errors have Anthropic's format."
)
SECONDS: Schema = {"type": "number", "minimum": 0}
KEY_SCHEMES: Schema = {
    "key": {"type": "http", "scheme": "bearer", "description": "an API key, if clients need keys"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "the same, as Anthropic's"},
    "operator": {"type": "apiKey", "in": "header", "name": "X-Operator-Token"},
}
KEY: list[Schema] = [{}, {"key": []}, {"x-api-key": []}]
OPERATOR: list[Schema] = [{"operator": []}, {"operator": [], "key": []}, {"operator": [], "x-api-key": []}]
ERRORS = ErrorResponses(
    {
        400: ("wrong-request", "The body cannot be read, or names no valid model"),
        401: ("no-key", "The API key is missing, wrong or expired; or the operator's token is"),
        403: ("forbidden", "The key may use only some models, or the request is of a web page of another origin"),
        404: ("unknown", "No such path, file, instance or model"),
        409: ("conflict", "The instance is not on demand, or its babysitter refuses; the message says why"),
        413: ("too-large", "The body is larger than `max_body`"),
        415: ("unreadable", "The model cannot be read from a body of this type or coding"),
        429: ("too-many", "A limit is reached; Retry-After says when to try again"),
        502: ("bad-gateway", "No instance has answered the request"),
        503: ("unavailable", "No healthy instance has the model, all are busy for too long, or the registry is away"),
        504: ("timeout", "The instance did not answer in time"),
    }
)
RELAY_ERRORS = (400, 401, 403, 404, 413, 415, 429, 502, 503, 504)
LOAD: Schema = {
    **open_object(
        {
            "running": COUNT,
            "waiting": COUNT,
            "kv_cache": nullable({"type": "number", "minimum": 0, "maximum": 1}),
            "tokens_per_second": nullable({"type": "number", "minimum": 0}),
        }
    ),
    "description": "what the engine reports, if a policy of the router uses it",
}
INSTANCE: Schema = open_object(
    {
        "name": TEXT,
        "host": TEXT,
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "url": TEXT,
        "babysitter_url": nullable(TEXT),
        "healthy": {**FLAG, "description": "whether it gets requests"},
        "status": {"type": "string", "enum": list(STATUSES)},
        "drained": FLAG,
        "ejected": FLAG,
        "failing": {**FLAG, "description": "whether most of its last answers are 500, while its peers answer"},
        "last_check": {**SECONDS, "description": "Unix time of the router's last health check; 0 before the first"},
        "request_count": COUNT,
        "error_count": COUNT,
        "response_time": {**SECONDS, "description": "the mean, in seconds"},
        "in_flight": COUNT,
        "load": nullable(LOAD),
        "weight": COUNT,
        "models": list_of(TEXT),
        "metadata": {"type": "object"},
    }
)
USAGE_ROW: Schema = {
    "type": "object",
    "description": "the sums for the dimensions in `by`: of requests, tokens and seconds",
    "properties": {**dict.fromkeys(COUNT_NAMES, {"type": "number"}), **dict.fromkeys(DIMENSIONS, TEXT)},
    "required": list(COUNT_NAMES),
}
SCHEMAS: Schema = {
    "Probe": open_object({"status": TEXT}),
    "Health": open_object(
        {
            "status": {"type": "string", "enum": ["healthy", "degraded"]},
            "router": {"type": "string", "enum": ["running", "draining"]},
            "healthy_services": {"type": "string", "pattern": "^[0-9]+/[0-9]+$", "examples": ["2/3"]},
            "registry_url": nullable(TEXT),
            "table_source": {"enum": ["registry", "saved", "static", None]},
            "table_age_seconds": nullable(SECONDS),
            "message": TEXT,
            "timestamp": TIMESTAMP,
        }
    ),
    "Model": {
        "type": "object",
        "description": "with whatever the engine adds",
        "properties": {"id": TEXT, "object": TEXT, "created": {"type": "number"}, "owned_by": TEXT, "asleep": FLAG},
        "required": ["id", "object", "created", "owned_by"],
    },
    "Models": open_object({"object": {"const": "list"}, "data": list_of(ref("Model"))}),
    "Instance": INSTANCE,
    "Services": open_object({"services": list_of(ref("Instance")), "total": COUNT, "registry_url": nullable(TEXT)}),
    "Stats": open_object(
        {
            "total_services": COUNT,
            "healthy_services": COUNT,
            "asleep": {**COUNT, "description": "instances on demand that a request wakes"},
            "total_requests": COUNT,
            "total_errors": COUNT,
            "in_flight": COUNT,
            "waiting": COUNT,
            "retries": COUNT,
            "resumptions": {"type": "object", "description": "answers that broke off: outcome, reason, number"},
            "registry_url": nullable(TEXT),
            "services": list_of(ref("Instance")),
        }
    ),
    "UsageRow": USAGE_ROW,
    "Usage": open_object(
        {
            "since": {**SECONDS, "description": "Unix time"},
            "until": {**SECONDS, "description": "Unix time"},
            "by": list_of(TEXT),
            "rows": list_of(ref("UsageRow")),
            "recent": {**list_of(ref("UsageRow")), "description": "of the last minute, by key and user"},
            "problem": {**TEXT, "description": "why the rows are not complete; empty if they are"},
        }
    ),
    "Candidate": open_object(
        {
            "name": TEXT,
            "in_flight": COUNT,
            "max_concurrency": {**COUNT, "description": "0: unlimited"},
            "weight": COUNT,
            "cache_type": TEXT,
            "work": {**nullable(COUNT), "description": "expected tokens in flight; null while no policy uses loads"},
            "excluded": {**TEXT, "description": "why it cannot get the request; empty if it can"},
        }
    ),
    "Route": open_object(
        {
            "method": TEXT,
            "path": TEXT,
            "requested_model": nullable(TEXT),
            "model": {**nullable(TEXT), "description": "after aliases and fallbacks; null if none is named"},
            "policy": {**TEXT, "description": "empty if the owner of an object decides alone"},
            "session": TEXT,
            "session_source": {**TEXT, "description": "what names the session"},
            "object_id": {**TEXT, "description": "of the stored object that the request is about, if it is known"},
            "instance": {**nullable(TEXT), "description": "the choice; null if there is none"},
            "waits": {**FLAG, "description": "whether the request would wait for an instance"},
            "why": list_of(TEXT),
            "candidates": list_of(ref("Candidate")),
            "error": nullable({"type": "object", "description": "that the request would get"}),
        }
    ),
    "WakeOptions": {
        "type": "object",
        "properties": {
            "hold": {**SECONDS, "description": "to keep the instance awake; by default as long as its wake may take"}
        },
        "additionalProperties": False,
    },
    "WakeOffer": open_object(
        {
            "instance": TEXT,
            "possible": FLAG,
            "now": {**FLAG, "description": "no other instance has to give way"},
            "reason": TEXT,
        }
    ),
    "Woken": open_object(
        {
            "name": {**TEXT, "description": "the instance"},
            "status": {**TEXT, "description": "the instance's at present"},
            "reason": {**TEXT, "description": "why it is not awake yet; empty if nothing is in its way"},
            "wake_timeout": nullable(SECONDS),
            "load_seconds": nullable(SECONDS),
        }
    ),
    "Drained": open_object({"service": {"type": "object", "description": "the service, as the registry has it"}}),
    "Relayed": {
        "type": "object",
        "description": "passed on unchanged; the router reads the model from it",
        "properties": {"model": TEXT, "stream": FLAG},
    },
    **ERROR_SCHEMAS,
}
WAKE = Operation("", "Woken", 202, request="WakeOptions", request_required=False, errors=(400, 401, 403, 404, 409, 503))
# Flask endpoint -> its description. The summary of an endpoint is the docstring of its function.
OPERATIONS = {
    "own.livez": Operation("", "Probe"),
    "own.readyz": Operation("", "Probe", unavailable=("Not ready", "Probe")),
    "own.health": Operation("", "Health"),
    "own.models": Operation("", "Models", errors=(401,)),
    "own.model": Operation("", "Model", errors=(401, 404)),
    "own.list_services": Operation("", "Services", errors=(401, 403)),
    "own.stats": Operation("", "Stats", errors=(401, 403)),
    "usage.usage": Operation(
        "",
        "Usage",
        errors=(400, 401, 403, 404, 503),
        query={
            "since": (TEXT, "Unix seconds, 2026-12-01, 2026-12-01T13:00, 24h, 7d or today; by default today"),
            "until": (TEXT, "the same; by default now"),
            "by": (TEXT, "what to sum by, of key, user, model, day and hour; by default key,user,model"),
        },
    ),
    "own.prometheus": Operation("", ("text/plain",), errors=(401, 403)),
    "own.openapi_document": Operation("", (JSON_TYPE,)),
    "root": Operation("", (), 302, errors=(404,), description="For a browser: the page is at /ui"),
    "ui.index": Operation("", ("text/html",)),
    "ui.slash": Operation("", (), 308, description="The page is at /ui"),
    "ui.file": Operation("", ("text/javascript", "text/css", "text/html"), errors=(404,)),
    "ui.stream": Operation("", ("text/event-stream",), errors=(401, 403, 429, 503)),
    "waking.wake_instance": WAKE,
    "waking.put_to_sleep": Operation("", "Woken", 202, errors=(401, 403, 404, 409, 503)),
    "waking.wake_model": WAKE,
    "ui.wake_offer": Operation("", "WakeOffer", errors=(401, 403, 404, 409, 503)),
    "ui.drain": Operation("", "Drained", errors=(401, 403, 404, 503)),
    "ui.undrain": Operation("", "Drained", errors=(401, 403, 404, 503)),
}

ROUTE_OPERATION = Operation(
    "Which instance the request would get that has this body and these headers, and why. Changes no state.",
    "Route",
    request="Relayed",
    request_required=False,
    errors=(400, 401, 403, 413),
    query={
        "path": (TEXT, "the path of the request; by default /v1/chat/completions"),
        "method": (TEXT, "the method of the request; by default POST"),
    },
    description="The choice; or the error that the request would get",
)


def document(routes: Iterable[Route]) -> Schema:
    """Return the OpenAPI document; raise KeyError for a route of the router that OPERATIONS does not describe."""
    route_query = openapi.operation_object(ROUTE_OPERATION, ERRORS, (), (), KEY)
    route_operation = ("POST", ROUTE_PATH.decode(), {**route_query, "tags": ["router"]})
    operations = (*_own(routes), route_operation, *_relayed())
    return openapi.document("The router of infinilm-svc", operations, SCHEMAS, ERRORS, KEY_SCHEMES, DESCRIPTION)


def _own(routes: Iterable[Route]) -> Iterator[tuple[str, str, Schema]]:
    for route in routes:
        operation, path = OPERATIONS[route.endpoint], openapi.path_template(route.path)
        by_key = 401 in operation.errors and (route.method != "POST" or route.endpoint.startswith("waking."))
        security = KEY if by_key else OPERATOR if route.method == "POST" else None
        described = openapi.operation_object(operation, ERRORS, (), _path_parameters(path), security)
        yield route.method, path, {**described, "summary": route.summary, "tags": ["router"]}


def _relayed() -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and description of every request that is relayed by default."""
    for api, inference_paths in INFERENCE.items():
        for path in inference_paths.split():
            yield "POST", path, _relayed_operation(api, path, has_body=True)
    for api, auxiliary in AUXILIARY.items():
        for route in auxiliary.split(","):
            method, path = route.replace("ID", "{id}").split()
            yield method, path, _relayed_operation(api, path, has_body=method == "POST")


def _relayed_operation(api: str, path: str, has_body: bool) -> Schema:
    summary = f"Relayed to an instance ({api})"
    answer = Operation(
        summary, (JSON_TYPE, "text/event-stream", "*/*"), description="The instance's response, as it comes"
    )
    described = openapi.operation_object(answer, ERRORS, RELAY_ERRORS, _path_parameters(path), KEY)
    if has_body:
        content = {media: {"schema": ref("Relayed")} for media in (JSON_TYPE, "multipart/form-data")}
        described["requestBody"] = {"content": content}
    return {**described, "tags": [api]}


def _path_parameters(path: str) -> list[Schema]:
    return [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in re.findall(r"\{(\w+)\}", path)]
