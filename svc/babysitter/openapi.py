"""The OpenAPI document of the babysitter's endpoints, /openapi.json."""

from collections.abc import Iterable, Iterator

from svc.babysitter.health_rules import ProbeOutcome
from svc.babysitter.lifecycle import LifecycleState
from svc.base.flask_app import Route
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

PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
ERRORS = ErrorResponses(
    {
        403: ("forbidden", "The request is of a web page of another origin"),
        429: ("too-many", "16 requests wait for a read of the models already"),
        503: ("unavailable", "The engine is not ready; the message has the reason"),
    }
)
SCHEMAS: Schema = {
    "Health": open_object(
        {
            "status": {"type": "string", "enum": ["healthy", "unhealthy"]},
            "service": TEXT,
            "babysitter": {"const": "running"},
            "infinilm_server_running": FLAG,
            "infinilm_server_port": PORT,
            "timestamp": TIMESTAMP,
        }
    ),
    "Model": {
        "type": "object",
        "description": "with whatever the engine adds",
        "properties": {"id": TEXT},
        "required": ["id"],
    },
    "Models": open_object({"object": {"const": "list"}, "data": list_of(ref("Model"))}),
    "Info": open_object(
        {
            "name": TEXT,
            "host": TEXT,
            "port": {**PORT, "description": "the babysitter's"},
            "url": TEXT,
            "service_type": {**TEXT, "description": "the type of the backend"},
            "metadata": {"type": "object", "description": "type, config_file, started_at, and [metadata] of the TOML"},
            "state": {"type": "string", "enum": [*(state.value for state in LifecycleState if state.value), "unknown"]},
            "models": list_of(TEXT),
            "not_ready": {**nullable(TEXT), "description": "why the instance is not ready"},
            "misconfigured": {**FLAG, "description": "a setting has to be changed; waiting does not help"},
            "infinilm_server_port": PORT,
            "infinilm_server_url": TEXT,
            "infinilm_server_pid": nullable(COUNT),
            "infinilm_server_since": nullable(TIMESTAMP),
            "uptime": {"type": "number", "description": "of the babysitter, in seconds"},
            "restart_count": COUNT,
            "max_restarts": COUNT,
            "restart_reason": nullable(TEXT),
            "probe": {"type": "string", "enum": ["models", "generate"]},
            "probe_result": {"enum": [*(outcome.value for outcome in ProbeOutcome), None]},
            "probe_reason": nullable(TEXT),
            "probe_failures": {**COUNT, "description": "in a row"},
            "probe_time": nullable(TIMESTAMP),
            "continues": {
                "enum": [True, False, None],
                "description": "whether the engine continues the beginning of an answer; null: not known yet",
            },
            "not_continuing": {**nullable(TEXT), "description": "why it does not"},
            "memory": {**nullable(COUNT), "description": "bytes"},
            "max_memory": {**nullable(COUNT), "description": "bytes"},
            "restarts_asked": {"type": "object", "additionalProperties": COUNT},
            "config": {**TEXT, "description": "a digest of the TOML that it has read"},
            "registry_url": nullable(TEXT),
            "registry_urls": list_of(TEXT),
            "router_url": nullable(TEXT),
            "registered": FLAG,
            "not_registered": {**nullable(TEXT), "description": "why the registry refuses it"},
            "last_heartbeat": {**nullable({"type": "number"}), "description": "Unix seconds"},
            "timestamp": TIMESTAMP,
        }
    ),
    **ERROR_SCHEMAS,
}
# The keys are Flask's endpoint names. The docstring of an endpoint's function is the summary of its operation.
OPERATIONS = {
    "health": Operation("", "Health", unavailable=("The instance does not run or is not ready", "Health")),
    "models": Operation("", "Models", errors=(503,)),
    "refresh": Operation("", "Models", errors=(403, 429, 503)),
    "info": Operation("", "Info"),
    "metrics_text": Operation("", ("text/plain", "application/openmetrics-text")),
    "openapi_document": Operation("", (JSON_TYPE,)),
}


def document(routes: Iterable[Route]) -> Schema:
    """Return the OpenAPI document of these routes; raise KeyError for a route that is not in OPERATIONS."""
    return openapi.document("A babysitter of infinilm-svc", _operations(routes), SCHEMAS, ERRORS, {})


def _operations(routes: Iterable[Route]) -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and description of each route."""
    for route in routes:
        described = openapi.operation_object(OPERATIONS[route.endpoint], ERRORS)
        yield route.method, route.path, {**described, "summary": route.summary}
