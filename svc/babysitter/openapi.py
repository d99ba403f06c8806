"""The OpenAPI document of the babysitter's endpoints, /openapi.json."""

from collections.abc import Iterable, Iterator

from svc.babysitter.health_rules import ProbeOutcome
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.on_demand.demands import MAX_SENDER_LENGTH
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

SECONDS: Schema = {"type": "number", "minimum": 0}
STATUS: Schema = {"type": "string", "enum": [*dict.fromkeys(s.status for s in LifecycleState if s.value), "unknown"]}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
ERRORS = ErrorResponses(
    {
        400: ("bad-request", "The body is not as described"),
        401: ("unauthorized", "The instance's API key is missing or wrong"),
        403: ("forbidden", "The request is of a web page of another origin"),
        409: ("conflict", "The instance is not on demand, or no supervisord runs it"),
        429: ("too-many", "16 requests wait for a read of the models already"),
        503: ("unavailable", "The engine is not ready; the message has the reason"),
    }
)
SCHEMAS: Schema = {
    "Health": open_object(
        {
            "status": {"type": "string", "enum": ["healthy", "unhealthy", "asleep"]},
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
            "on_demand": {**nullable(ref("OnDemand")), "description": "null for an instance that never sleeps"},
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
    "SleepChange": open_object({"reason": TEXT, "seconds": nullable(SECONDS), "time": TIMESTAMP}),
    "OnDemand": open_object(
        {
            "reason": {**nullable(TEXT), "description": "what it waits for, or why it is to sleep"},
            "demand": {**nullable({"type": "object"}), "description": "what routers and operators want now"},
            "in_flight": {**nullable(COUNT), "description": "requests; null: not known"},
            "idle_seconds": SECONDS,
            "idle_after": SECONDS,
            "min_awake": SECONDS,
            "wake_timeout": SECONDS,
            "sleep": {"type": "string", "enum": ["stop", "vllm"]},
            "keep": FLAG,
            "load_seconds": {**nullable(SECONDS), "description": "how long the last start or wake took"},
            "loads": COUNT,
            "sleeps": COUNT,
            "woken": {**nullable(ref("SleepChange")), "description": "when it woke last, why, and how long it took"},
            "slept": nullable(ref("SleepChange")),
        }
    ),
    "Demand": {
        "type": "object",
        "description": "what is left out stays as the same sender sent it before; an empty object keeps it awake for "
        "its wake_timeout",
        "properties": {
            "waiting": {**COUNT, "description": "requests that wait; it ends after three seconds"},
            "oldest": {**SECONDS, "description": "seconds that the oldest of them has waited"},
            "hold": {**SECONDS, "description": "seconds for which the instance is to be awake"},
            "by": {**TEXT, "maxLength": MAX_SENDER_LENGTH, "description": "the sender"},
        },
    },
    "Offer": open_object(
        {
            "name": TEXT,
            "status": STATUS,
            "possible": FLAG,
            "now": {**FLAG, "description": "no other instance has to give way"},
            "victims": {**list_of(TEXT), "description": "the programs that have to give way"},
            "seconds": {**SECONDS, "description": "until it is ready, and until the victims are ready again later"},
            "idle_seconds": {**SECONDS, "description": "of the victim that has been idle for the shortest time"},
            "reason": TEXT,
            "later": {**FLAG, "description": "not possible now, and possible by itself later"},
        }
    ),
    "Woken": open_object(
        {
            "status": STATUS,
            "reason": TEXT,
            "wake_timeout": {**SECONDS, "description": "how long a request should wait for it"},
            "load_seconds": {**nullable(SECONDS), "description": "how long its last start took; null: not known"},
        }
    ),
    "Slept": open_object({"status": STATUS, "reason": TEXT}),
    **ERROR_SCHEMAS,
}
# The keys are the names of the endpoints' functions, whose docstrings are the summaries of the operations.
OPERATIONS = {
    "health": Operation("", "Health", unavailable=("The instance does not run or is not ready", "Health")),
    "models": Operation("", "Models", errors=(503,)),
    "refresh": Operation("", "Models", errors=(403, 429, 503)),
    "info": Operation("", "Info"),
    "metrics_text": Operation("", ("text/plain", "application/openmetrics-text")),
    "openapi_document": Operation("", (JSON_TYPE,)),
    "offer": Operation("", "Offer"),
    "wake": Operation("", "Woken", 202, "Demand", False, (400, 401, 403, 409)),
    "sleep": Operation("", "Slept", 202, errors=(401, 403, 409)),
}


def document(routes: Iterable[Route]) -> Schema:
    """Return the OpenAPI document of these routes; raise KeyError for a route that is not in OPERATIONS."""
    return openapi.document("A babysitter of infinilm-svc", _operations(routes), SCHEMAS, ERRORS, {})


def _operations(routes: Iterable[Route]) -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and description of each route."""
    for route in routes:
        described = openapi.operation_object(OPERATIONS[route.endpoint], ERRORS)
        yield route.method, route.path, {**described, "summary": route.summary}
