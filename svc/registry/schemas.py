"""JSON Schemas of the registry's requests and responses, with the limits of validation.py."""

from svc.protocol.event import EVENT_KINDS, MAX_MESSAGE_LENGTH, REPORTED_KINDS
from svc.protocol.instance_load import MAX_AGE_INTERVALS, MAX_COUNT, MAX_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS
from svc.protocol.openapi import (
    COUNT,
    ERROR_SCHEMAS,
    FLAG,
    TEXT,
    TIMESTAMP,
    Schema,
    closed_object,
    nullable,
    ref,
)
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODELS, STATUSES
from svc.registry import gpu_schemas, validation
from svc.registry.event_reports import MAX_EVENTS_PER_REQUEST, SOURCE_PATTERN

SECONDS: Schema = {"type": "number", "description": "Unix seconds"}
STATUS: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": validation.MAX_STATUS_LENGTH,
    "description": f"{' '.join(STATUSES)}; any other printable text counts as not running",
}
FLAG_TEXT: Schema = {"type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])?$"}
NAME: Schema = {"type": "string", "pattern": f"^{validation.NAME_PATTERN.pattern}$", "maxLength": 128}
HOST: Schema = {"type": "string", "minLength": 1, "maxLength": 253, "description": "a host name or an address"}
URL: Schema = {"type": "string", "pattern": "^https?://[^/?#@ ]+(/[^?# ]*)?$", "maxLength": 2048}
WEIGHT: Schema = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 1}
LEASE: Schema = {"type": "number", "minimum": 1, "maximum": 86400, "default": 90}
METADATA: Schema = {
    "type": "object",
    "description": f"at most {MAX_METADATA_BYTES >> 10} KB, nested at most {validation.MAX_METADATA_DEPTH} deep; "
    "`health_url` and `babysitter` are URLs on the service's own host; "
    f"`models` and `models_list` have at most {MAX_MODELS} entries",
}
EXAMPLE = {
    "name": "qwen-server",
    "host": "10.0.0.7",
    "port": 8100,
    "hostname": "gpu7",
    "url": "http://10.0.0.7:8100",
    "status": "running",
    "lease_seconds": 90,
    "metadata": {"type": "openai-api", "models": ["qwen"]},
}

WRITABLE: Schema = {
    "name": NAME,
    "host": HOST,
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "hostname": HOST,
    "url": {**URL, "description": "its host is `host` or `hostname`, its port is `port`"},
    "status": STATUS,
    "timestamp": {"type": "string", "pattern": f"^{validation.TIMESTAMP_PATTERN.pattern}$"},
    "lease_seconds": LEASE,
    "weight": WEIGHT,
    "metadata": METADATA,
}
CHANGES: Schema = {key: nullable(schema) for key, schema in WRITABLE.items()}
REGISTRATION: Schema = {
    key: schema if key in validation.REQUIRED_FIELDS else CHANGES[key] for key, schema in WRITABLE.items()
}
READ_ONLY: Schema = {
    "last_heartbeat": SECONDS,
    "is_healthy": FLAG,
    "drained": FLAG,
    "handover": {**FLAG, "description": "true: its streams are moved to other instances; else missing"},
    "health_status": {"type": "string", "enum": ["unknown", "healthy", "unhealthy"]},
}
HEALTH: Schema = {
    "status": {"type": "string", "enum": ["healthy", "degraded", "failing"]},
    "registry": TEXT,
    "registered_services": COUNT,
    "healthy_services": COUNT,
    "reason": TEXT,
    "timestamp": TIMESTAMP,
}
OPTIONAL_HEALTH_FIELDS = ("registered_services", "healthy_services", "reason")
COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}

EVENT_FIELDS: Schema = {
    "time": TIMESTAMP,
    "kind": {"type": "string", "enum": list(EVENT_KINDS)},
    "service": NAME,
    "source": {
        **TEXT,
        "maxLength": 200,
        "description": "registry, babysitter, router-NAME, or operator for a command; @ADDRESS is added to "
        "that of a program which cannot write to the registry",
    },
    "message": {"type": "string", "maxLength": MAX_MESSAGE_LENGTH},
    "actor": {**TEXT, "description": "of an operator's action: the name of the token, or user:NAME; else missing"},
    "address": {**TEXT, "description": "from which the actor did it; missing without an actor"},
}
SOURCE: Schema = {"type": "string", "pattern": f"^({SOURCE_PATTERN.pattern})$", "maxLength": 128}
LAST: Schema = {"type": "integer", "minimum": 0, "description": "the `after` with which to go on"}
EVENTS: Schema = {"type": "array", "items": ref("Event")}

LOAD_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_COUNT}
LOAD: Schema = {
    "running": {**LOAD_COUNT, "description": "requests that the engine works on"},
    "waiting": {**LOAD_COUNT, "description": "requests in the engine's own queue"},
    "kv_cache": nullable({"type": "number", "minimum": 0, "maximum": 1, "description": "used share of the KV cache"}),
    "tokens_per_second": nullable({"type": "number", "minimum": 0, "maximum": 1e9}),
    "interval": {
        "type": "number",
        "minimum": MIN_INTERVAL_SECONDS,
        "maximum": MAX_INTERVAL_SECONDS,
        "default": 2,
        "description": f"seconds until the next report; after {MAX_AGE_INTERVALS} intervals without one, the load is "
        "dropped",
    },
}
SCHEMAS: Schema = {
    "Registration": {
        "type": "object",
        "properties": REGISTRATION,
        "required": list(validation.REQUIRED_FIELDS),
        "examples": [EXAMPLE],
    },
    "Change": {"type": "object", "properties": CHANGES, "examples": [{"status": "draining"}]},
    "Heartbeat": {"type": "object", "properties": {"status": nullable(STATUS)}, "examples": [{"status": "running"}]},
    "Drain": {
        "type": "object",
        "properties": {
            "handover": nullable(
                {**FLAG, "default": False, "description": "routers also move its streams to other instances"}
            )
        },
        "examples": [{"handover": True}],
    },
    "Load": {
        "type": "object",
        "properties": LOAD,
        "required": ["running", "waiting"],
        "examples": [{"running": 3, "waiting": 0, "kv_cache": 0.42, "tokens_per_second": 87.5, "interval": 2}],
    },
    "Loads": closed_object(
        {
            "loads": {
                "type": "array",
                "items": closed_object(
                    {**LOAD, "service": NAME, "age": {"type": "number", "description": "seconds since the report"}}
                ),
            },
            "timestamp": TIMESTAMP,
        }
    ),
    "Service": closed_object({**WRITABLE, **READ_ONLY}, optional=("handover",)),
    "Services": closed_object(
        {"services": {"type": "array", "items": ref("Service")}, "total": COUNT, "timestamp": TIMESTAMP}
    ),
    "Changed": closed_object({"message": TEXT, "service": ref("Service")}),
    "Done": closed_object({"message": TEXT, "timestamp": TIMESTAMP}),
    "Expired": closed_object({"message": TEXT, "expired": {"type": "array", "items": NAME}, "timestamp": TIMESTAMP}),
    "Event": closed_object(
        {
            "id": COUNT,
            **EVENT_FIELDS,
            "level": {"type": "string", "enum": ["info", "good", "warning", "bad"]},
        },
        optional=("actor", "address"),
    ),
    "Events": closed_object({"events": EVENTS, "last": LAST, "timestamp": TIMESTAMP}),
    "Told": closed_object({"events": EVENTS, "last": LAST}),
    "Telling": {
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_EVENTS_PER_REQUEST,
                "items": {
                    "type": "object",
                    "required": ["kind", "service", "source"],
                    "properties": {
                        "kind": {"type": "string", "enum": sorted(REPORTED_KINDS)},
                        "service": NAME,
                        "source": SOURCE,
                        "message": TEXT,
                    },
                },
            }
        },
        "examples": [{"events": [{"kind": "ejected", "service": "qwen-server", "source": "router"}]}],
    },
    "Check": closed_object(
        {
            "service": NAME,
            "health_status": READ_ONLY["health_status"],
            "is_healthy": FLAG,
            "last_heartbeat": SECONDS,
            "timestamp": TIMESTAMP,
        }
    ),
    "Health": closed_object(HEALTH, OPTIONAL_HEALTH_FIELDS),
    "Failing": closed_object({**HEALTH, "error": ref("Problem")}, OPTIONAL_HEALTH_FIELDS),
    "Stats": closed_object(
        {
            "total_services": COUNT,
            "healthy_services": COUNT,
            "unhealthy_services": COUNT,
            "status_distribution": COUNTS,
            "host_distribution": COUNTS,
            "uptime": {"type": "number"},
            "timestamp": TIMESTAMP,
        }
    ),
    "Targets": {
        "type": "array",
        "items": closed_object(
            {
                "targets": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 1},
                "labels": {"type": "object", "additionalProperties": TEXT, "required": ["job", "name"]},
            }
        ),
    },
    **gpu_schemas.SCHEMAS,
    **ERROR_SCHEMAS,
}
