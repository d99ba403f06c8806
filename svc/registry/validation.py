"""What clients may say of a service: every field with its limits, every problem of a body told at once."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from svc.base.errors import BadRequest
from svc.protocol.service import (
    DEFAULT_LEASE,
    MAX_METADATA_BYTES,
    MAX_MODEL_ID_LENGTH,
    MAX_MODELS,
    STATUSES,
    Service,
    is_model_id,
    iso,
)
from svc.protocol.service_url import is_service_host, is_service_url

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
WHOLE = re.compile(r"-?[0-9]{1,18}")
SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
STAMP = re.compile(r"[ -~]{1,64}")
LONGEST_WAIT = 60.0  # seconds
LABEL = re.compile(r"[A-Za-z0-9 _.-]{0,64}")  # what older babysitters say in metadata.babysitter: what they are
REQUIRED = ("name", "host", "port", "hostname", "url", "status")
METADATA_DEPTH = 8


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; of nothing, {}."""
    if not body.strip():
        return {}
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(told, dict):
        raise BadRequest("the body must be a JSON object, {...}", code="invalid_json")
    return told


def registration(told: dict[str, Any], now: float) -> Service:
    """A new service, heard of now."""
    missing = [key for key in REQUIRED if told.get(key) is None]
    lack = f"{', '.join(missing)}: missing; a registration needs {' '.join(REQUIRED)}"
    fields = _checked(told, [(",".join(missing), lack)] if missing else [])
    return Service(**{"timestamp": iso(now), "lease_seconds": DEFAULT_LEASE, **fields, "last_heartbeat": now})


def changes(told: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields of `name` to change."""
    fields = _checked(told, [])
    if fields.pop("name", name) != name:
        raise BadRequest(
            f"name: a service cannot be renamed; register {told['name']!r} and delete {name!r}", param="name"
        )
    if not fields:
        raise BadRequest(f"no field to change; there are {' '.join(k for k in FIELDS if k != 'name')}")
    return fields


def heartbeat(told: dict[str, Any]) -> str | None:
    """The status that a heartbeat brings, if it does."""
    return _checked({"status": told.get("status")}, []).get("status")


def filters(args: Any) -> Callable[[Service], bool]:
    """What `?status= &healthy= &type=` let through."""
    status, healthy, kind = args.get("status"), args.get("healthy"), args.get("type")
    if healthy not in (None, "true", "false"):
        raise BadRequest(f"healthy: must be true or false, not {healthy!r}", param="healthy")
    _checked({"status": status}, [])

    def passes(service: Service) -> bool:
        return (
            (status is None or service.status == status)
            and (healthy is None or service.is_healthy() == (healthy == "true"))
            and (kind is None or service.metadata.get("type") == kind)
        )

    return passes


def filter_key(args: Any) -> tuple[str | None, ...]:
    return tuple(args.get(key) for key in ("status", "healthy", "type"))


def watch(args: Any) -> tuple[int, float] | None:
    """What `?index=&wait=` say: the revision that the client has, and the seconds that it waits for another."""
    index, wait = args.get("index"), args.get("wait")
    if index is None and wait is None:
        return None
    if index is None or not WHOLE.fullmatch(index):
        raise BadRequest(f"index: must be the X-Registry-Index of an earlier answer, not {index!r}", param="index")
    return int(index), seconds(wait)


def seconds(wait: str | None) -> float:
    """What `?wait=` says, up to LONGEST_WAIT."""
    if wait is not None and not SECONDS.fullmatch(wait):
        raise BadRequest(f"wait: must be seconds, not {wait!r}", param="wait")
    return min(float(wait or 0), LONGEST_WAIT)


def _checked(told: dict[str, Any], problems: list[tuple[str, str]]) -> dict[str, Any]:
    """The known fields that are given (null is not given); unknown ones are let pass, for the sake of older clients."""
    fields = {key: told[key] for key in FIELDS if told.get(key) is not None}
    for key, value in fields.items():
        reason = FIELDS[key](value)
        if reason:
            problems.append((key, f"{key}: {reason}"))
    if problems:
        raise BadRequest("; ".join(text for _, text in problems), param=",".join(key for key, _ in problems))
    return fields


def _name(value: Any) -> str:
    fits = isinstance(value, str) and NAME.fullmatch(value)
    return (
        "" if fits else f"must be at most 128 of A-Z a-z 0-9 _ . -, the first a letter or digit, not {_quoted(value)}"
    )


def _host(value: Any) -> str:
    return (
        ""
        if isinstance(value, str) and is_service_host(value)
        else f"must be a host name or address, not {_quoted(value)}"
    )


def _port(value: Any) -> str:
    return "" if _is_whole(value) and 1 <= value <= 65535 else f"must be 1 to 65535, not {_quoted(value)}"


def _url(value: Any) -> str:
    fits = is_service_url(value, query=False)
    return "" if fits else f"must be like http://HOST:PORT or https://HOST, not {_quoted(value)}"


def _status(value: Any) -> str:
    return "" if value in STATUSES else f"must be one of {' '.join(STATUSES)}, not {_quoted(value)}"


def _weight(value: Any) -> str:
    return "" if _is_whole(value) and 0 <= value <= 1000 else f"must be 0 to 1000, not {_quoted(value)}"


def _lease(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "" if number and 1 <= value <= 86400 else f"must be 1 to 86400 seconds, not {_quoted(value)}"


def _timestamp(value: Any) -> str:
    fits = isinstance(value, str) and STAMP.fullmatch(value)
    return "" if fits else f"must be a time in ISO 8601, not {_quoted(value)}"


def _metadata(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be an object, not {_quoted(value)}"
    if _deeper(value, METADATA_DEPTH):
        return f"may be nested {METADATA_DEPTH} deep"
    if len(msgspec.json.encode(value)) > MAX_METADATA_BYTES:
        return f"may have {MAX_METADATA_BYTES} bytes"
    return next((reason for check in METADATA_CHECKS for reason in check(value)), "")


def _wrong_urls(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the URLs that the registry and the routers send requests to."""
    health_url, babysitter = metadata.get("health_url"), metadata.get("babysitter")
    if health_url is not None and not is_service_url(health_url):
        yield f"health_url must be like http://HOST:PORT/PATH, not {_quoted(health_url)}"
    is_label = isinstance(babysitter, str) and LABEL.fullmatch(babysitter)
    if babysitter is not None and not is_label and not is_service_url(babysitter, query=False):
        yield f"babysitter must be like http://HOST:PORT, not {_quoted(babysitter)}"


def _wrong_models(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the models, each of which costs every router memory, metrics and time."""
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


METADATA_CHECKS = (_wrong_urls, _wrong_models)
FIELDS: dict[str, Callable[[Any], str]] = {
    "name": _name,
    "host": _host,
    "port": _port,
    "hostname": _host,
    "url": _url,
    "status": _status,
    "timestamp": _timestamp,
    "lease_seconds": _lease,
    "weight": _weight,
    "metadata": _metadata,
}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _deeper(value: Any, limit: int) -> bool:
    """Whether objects and lists are nested more than `limit` deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (limit == 0 or any(_deeper(v, limit - 1) for v in inner))


def _quoted(value: Any) -> str:
    """The value as it was told, shortened."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."
