"""Reads the file of static services: instances that no registry lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from svc.base.address import authority, has_credentials, is_host, without_brackets
from svc.base.errors import ConfigError
from svc.protocol.service import CONTINUES, CONTINUES_MESSAGES, MAX_MODEL_ID_LENGTH, MAX_MODELS, Service, is_model_id
from svc.protocol.service_url import is_service_url
from svc.router.balance.target import Target, from_service

REQUIRED_FIELDS = ("name", "host", "port")
FIELD_TYPES: dict[str, tuple[type, str]] = {
    "name": (str, "text"),
    "host": (str, "text"),
    "port": (int, "a whole number"),
    "weight": (int, "a whole number"),
    "metadata": (dict, "an object"),
    "url": (str, "text"),
    "health_url": (str, "text"),
}
# These fields of a registry's list are ignored, because an entry may have been copied from such a list.
IGNORED_FIELDS = {*Service.__struct_fields__, "is_healthy", "comment"}


def read_static(path: Path) -> list[Target]:
    """Return the static services in a file; raise ConfigError with all its problems.

    The file may contain [...], {"services": [...]} or {"static_services": {"services": [...]}}.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    for key in ("static_services", "services"):
        if isinstance(entries, dict) and key in entries:
            entries = entries[key]
    if not isinstance(entries, list):
        raise ConfigError(f'{path}: must be a list of services, or {{"services": [...]}}')
    problems: list[str] = []
    targets = []
    for i, entry in enumerate(entries):
        entry_problems = list(_problems(entry))
        target = None if entry_problems else _target(entry)
        if target is None:
            problems += [
                f"{path}: services[{i}]: {problem}" for problem in entry_problems or ["cannot be used; correct it"]
            ]
        else:
            targets.append(target)
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    problems += [
        f"{path}: two services are called {name!r}; give each its own name"
        for name in sorted({n for n in names if isinstance(n, str) and names.count(n) > 1})
    ]
    if problems:
        raise ConfigError(*problems)
    return targets


def _problems(entry: Any) -> Iterator[str]:
    """Yield a message for each problem of one entry."""
    if not isinstance(entry, dict):
        yield "must be an object with name, host and port"
        return
    if "models" in entry:
        yield 'models: belongs into metadata; write "metadata": {"models": [...]}'
    for key in entry.keys() - FIELD_TYPES.keys() - IGNORED_FIELDS - {"models"}:
        yield f"{key}: unknown key; there are {', '.join(FIELD_TYPES)}"
    valid: dict[str, Any] = {}
    for key, (kind, description) in FIELD_TYPES.items():
        value = entry.get(key)
        if key not in entry:
            if key in REQUIRED_FIELDS:
                yield f"{key} is missing"
        elif not isinstance(value, kind) or isinstance(value, bool):
            yield f"{key}: must be {description}, not {value!r}"
        elif value == "":
            yield f"{key}: must not be empty"
        else:
            valid[key] = value
    if not 1 <= valid.get("port", 1) <= 65535:
        yield f"port: must be from 1 to 65535, not {valid['port']}"
    if valid.get("weight", 1) < 0:
        yield "weight: must not be negative"
    if not is_host(without_brackets(valid.get("host", "h"))):
        yield f"host: must be a name or an address, without port or http://, not {valid['host']!r}"
    metadata = valid.get("metadata", {})
    for key, value in (("health_url", valid.get("health_url")), ("metadata: health_url", metadata.get("health_url"))):
        if value is not None and not is_service_url(value):
            yield f"{key}: {_url_problem(value, 'like http://HOST:PORT/PATH')}"
    for key in (CONTINUES, CONTINUES_MESSAGES):
        if not isinstance(continues := metadata.get(key, False), bool):
            yield f"metadata: {key}: must be true or false, not {continues!r}"
    models = metadata.get("models", [])
    if not isinstance(models, list) or not all(isinstance(m, str) for m in models):
        yield f"metadata: models: must be a list of names, not {models!r}"
    elif len(models) > MAX_MODELS or not all(map(is_model_id, models)):
        longest = f"each of 1 to {MAX_MODEL_ID_LENGTH} printable characters"
        yield f"metadata: models: may have {MAX_MODELS} names, {longest}; spread them over several instances"
    if "url" in valid and not is_service_url(valid["url"], query=False):
        yield f"url: {_url_problem(valid['url'], 'http://HOST:PORT or https://HOST:PORT')}"


def _url_problem(value: Any, shape: str) -> str:
    """Return the problem of an invalid URL as text; a URL that contains a password is not quoted."""
    if isinstance(value, str) and has_credentials(value):
        return "holds a user or a password, which /services would show; take it out of the URL"
    return f"must be {shape}, not {value!r}"


def _target(entry: dict[str, Any]) -> Target | None:
    host, metadata = without_brackets(entry["host"]), entry.get("metadata", {})
    if "health_url" in entry:
        metadata = {**metadata, "health_url": entry["health_url"]}
    service = Service(
        name=entry["name"],
        host=host,
        port=entry["port"],
        hostname=host,
        url=entry.get("url") or f"http://{authority(host, entry['port'])}",
        status="running",
        weight=entry.get("weight", 1),
        metadata=metadata,
    )
    target = from_service(service, static=True)
    return target and msgspec.structs.replace(target, discovers_models="models" not in metadata, has_babysitter=False)
