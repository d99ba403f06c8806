"""Validate a service's fields and the query parameters of requests. One error lists every wrong field. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from svc.base.errors import BadRequest, NotFound
from svc.protocol.gpu_report import MAX_REPORT_BYTES, GpuReport
from svc.protocol.instance_load import InstanceLoad
from svc.protocol.service import (
    DEFAULT_LEASE_SECONDS,
    MAX_METADATA_BYTES,
    MAX_MODEL_ID_LENGTH,
    MAX_MODELS,
    Service,
    is_model_id,
    iso,
)
from svc.protocol.service_url import is_service_host, is_service_url

T = TypeVar("T")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
INTEGER_PATTERN = re.compile(r"-?[0-9]{1,18}")
SECONDS_PATTERN = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
TIMESTAMP_PATTERN = re.compile(r"[ -~]{1,64}")
LABEL_PATTERN = re.compile(r"[A-Za-z0-9 _.-]{0,64}")  # older babysitters put a description into metadata.babysitter
MAX_WAIT_SECONDS = 60.0
MAX_METADATA_DEPTH = 8
MAX_QUOTED_LENGTH = 80
MAX_STATUS_LENGTH = 64
FILTERS = ("status", "healthy", "type")
decode_load = msgspec.json.Decoder(InstanceLoad).decode
decode_gpus = msgspec.json.Decoder(GpuReport).decode
REQUIRED_FIELDS = ("name", "host", "port", "hostname", "url", "status")


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request body; return {} for an empty body."""
    if not body.strip():
        return {}
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(payload, dict):
        raise BadRequest("the body must be a JSON object, {...}", code="invalid_json")
    return payload


def unknown_service(name: str) -> NotFound:
    """Return the error for a request about a service `name` that is not registered."""
    return NotFound(
        f"no service {name!r} is registered; register it with POST /services", param="name", code="unknown_service"
    )


def parse_registration(payload: dict[str, Any], now: float) -> Service:
    """Return the service that a registration describes, with `now` as its last heartbeat."""
    missing = [key for key in REQUIRED_FIELDS if payload.get(key) is None]
    problem = f"{', '.join(missing)}: missing; a registration needs {' '.join(REQUIRED_FIELDS)}"
    fields = _checked_fields(payload, [(",".join(missing), problem)] if missing else [])
    return Service(**{"timestamp": iso(now), "lease_seconds": DEFAULT_LEASE_SECONDS, **fields, "last_heartbeat": now})


def parse_changes(payload: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the fields that an update of the service `name` changes; {} if the update only renews the lease."""
    fields = _checked_fields(payload, [])
    if fields.pop("name", name) != name:
        raise BadRequest(
            f"name: a service cannot be renamed; register {payload['name']!r} and delete {name!r}", param="name"
        )
    return fields


def parse_heartbeat_status(payload: dict[str, Any]) -> str | None:
    """Return the status in the body of a heartbeat; None if the body contains no status."""
    return _checked_fields({"status": payload.get("status")}, []).get("status")


def parse_handover(payload: dict[str, Any]) -> bool:
    """Return whether the body of a drain asks routers to move the service's streams; False if it does not say so."""
    handover = payload.get("handover")
    if handover is None or isinstance(handover, bool):
        return bool(handover)
    raise BadRequest(f"handover: must be true or false, not {_quoted(handover)}", param="handover")


def parse_load(body: bytes) -> InstanceLoad:
    """Return the load in the body of a report. Unknown fields are ignored; raise BadRequest for any other problem."""
    return _decoded(decode_load, body)


def parse_gpus(body: bytes) -> GpuReport:
    """Return the report about the GPUs of a host in a request's body. The rules are those of `parse_load`."""
    if len(body) > MAX_REPORT_BYTES:
        raise BadRequest(f"gpus: a report may have {MAX_REPORT_BYTES >> 10} KB", param="gpus")
    return _decoded(decode_gpus, body)


def _decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise BadRequest(f"{message}{' in ' + place.rstrip('`') if place else ''}", param=place.rstrip("`")) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from None


def parse_filters(args: Mapping[str, str]) -> Callable[[Service], bool]:
    """Return a predicate: whether a service passes the filters `?status= &healthy= &type=` of a request.

    An empty filter counts as missing. The value of `healthy` may be in any case, because Python clients send True.
    """
    status, healthy, kind = (args.get(key) or None for key in FILTERS)
    if healthy is not None and healthy.lower() not in ("true", "false"):
        raise BadRequest(f"healthy: must be true or false, not {healthy!r}", param="healthy")

    def passes(service: Service) -> bool:
        return (
            (status is None or service.status == status)
            and (healthy is None or service.is_healthy() == (healthy.lower() == "true"))
            and (kind is None or service.metadata.get("type") == kind)
        )

    return passes


def filter_key(args: Mapping[str, str]) -> tuple[str | None, ...]:
    """Return a cache key for the filters of a request: equal filters have equal keys."""
    return tuple(args.get(key) for key in FILTERS)


def parse_watch(args: Mapping[str, str]) -> tuple[int, float] | None:
    """Return the client's revision (`?index=`) and the seconds to wait (`?wait=`); None if neither is given."""
    index, wait = args.get("index"), args.get("wait")
    if index is None and wait is None:
        return None
    if index is None or not INTEGER_PATTERN.fullmatch(index):
        raise BadRequest(f"index: must be the X-Registry-Index of an earlier answer, not {index!r}", param="index")
    return int(index), wait_seconds(wait)


def wait_seconds(wait: str | None) -> float:
    """Return the value of `?wait=`, at most MAX_WAIT_SECONDS; 0 if there is none."""
    if wait is not None and not SECONDS_PATTERN.fullmatch(wait):
        raise BadRequest(f"wait: must be seconds, not {wait!r}", param="wait")
    return min(float(wait or 0), MAX_WAIT_SECONDS)


def _checked_fields(payload: dict[str, Any], problems: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the known fields of `payload`; raise BadRequest if any is invalid or `problems` is not empty.

    A null field counts as missing. Unknown fields are ignored, because clients of other versions may send them.
    """
    fields = {key: payload[key] for key in FIELDS if payload.get(key) is not None}
    for key, value in fields.items():
        reason = FIELDS[key](value)
        if reason:
            problems.append((key, f"{key}: {reason}"))
    if problems:
        raise BadRequest("; ".join(text for _, text in problems), param=",".join(key for key, _ in problems))
    return fields


def _name_problem(value: Any) -> str:
    if isinstance(value, str) and NAME_PATTERN.fullmatch(value):
        return ""
    return f"must be at most 128 of A-Z a-z 0-9 _ . -, the first a letter or digit, not {_quoted(value)}"


def _host_problem(value: Any) -> str:
    is_valid = isinstance(value, str) and is_service_host(value)
    return "" if is_valid else f"must be a host name or address, not {_quoted(value)}"


def _port_problem(value: Any) -> str:
    return "" if _is_integer(value) and 1 <= value <= 65535 else f"must be 1 to 65535, not {_quoted(value)}"


def _url_problem(value: Any) -> str:
    is_valid = is_service_url(value, query=False)
    return "" if is_valid else f"must be like http://HOST:PORT or https://HOST, not {_quoted(value)}"


def _status_problem(value: Any) -> str:
    """Return why a status is invalid, or "". Any short text is valid, because other programs may use other statuses."""
    is_valid = isinstance(value, str) and 0 < len(value) <= MAX_STATUS_LENGTH and value.isprintable()
    return "" if is_valid else f"must be 1 to {MAX_STATUS_LENGTH} printable characters, not {_quoted(value)}"


def _weight_problem(value: Any) -> str:
    return "" if _is_integer(value) and 0 <= value <= 1000 else f"must be 0 to 1000, not {_quoted(value)}"


def _lease_problem(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "" if is_number and 1 <= value <= 86400 else f"must be 1 to 86400 seconds, not {_quoted(value)}"


def _timestamp_problem(value: Any) -> str:
    is_valid = isinstance(value, str) and TIMESTAMP_PATTERN.fullmatch(value)
    return "" if is_valid else f"must be a time in ISO 8601, not {_quoted(value)}"


def _metadata_problem(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be an object, not {_quoted(value)}"
    if _is_nested_deeper(value, MAX_METADATA_DEPTH):
        return f"may be nested {MAX_METADATA_DEPTH} deep"
    if len(msgspec.json.encode(value)) > MAX_METADATA_BYTES:
        return f"may have {MAX_METADATA_BYTES} bytes"
    return next((reason for check in METADATA_CHECKS for reason in check(value)), "")


def _metadata_url_problems(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield the problems of the URLs in `metadata` to which the registry and the routers send requests."""
    health_url, babysitter = metadata.get("health_url"), metadata.get("babysitter")
    if health_url is not None and not is_service_url(health_url):
        yield f"health_url must be like http://HOST:PORT/PATH, not {_quoted(health_url)}"
    is_label = isinstance(babysitter, str) and LABEL_PATTERN.fullmatch(babysitter)
    if babysitter is not None and not is_label and not is_service_url(babysitter, query=False):
        yield f"babysitter must be like http://HOST:PORT, not {_quoted(babysitter)}"


def _metadata_model_problems(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield the problems of the list of models.

    Its length is limited, because each model costs every router memory and time.
    """
    for key in ("models", "models_list"):
        models = metadata.get(key)
        if models is None:
            continue
        if not isinstance(models, list):
            yield f"{key} must be a list, not {_quoted(models)}"
        elif len(models) > MAX_MODELS:
            yield f"{key} may have {MAX_MODELS} models, not {len(models)}; spread them over several instances"
        else:
            ids = models if key == "models" else [m.get("id") if isinstance(m, dict) else m for m in models]
            yield from (
                f"{key} must have ids of 1 to {MAX_MODEL_ID_LENGTH} printable characters, not {_quoted(model)}"
                for model in ids
                if not is_model_id(model)
            )


METADATA_CHECKS = (_metadata_url_problems, _metadata_model_problems)
FIELDS: dict[str, Callable[[Any], str]] = {  # field -> function that returns why a value is invalid, or ""
    "name": _name_problem,
    "host": _host_problem,
    "port": _port_problem,
    "hostname": _host_problem,
    "url": _url_problem,
    "status": _status_problem,
    "timestamp": _timestamp_problem,
    "lease_seconds": _lease_problem,
    "weight": _weight_problem,
    "metadata": _metadata_problem,
}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_nested_deeper(value: Any, limit: int) -> bool:
    """Return whether the objects and lists in `value` are nested more than `limit` levels deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (limit == 0 or any(_is_nested_deeper(v, limit - 1) for v in inner))


def _quoted(value: Any) -> str:
    """Return `value` quoted for an error message, and shortened if it is long."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_QUOTED_LENGTH else text[: MAX_QUOTED_LENGTH - 3] + "..."
