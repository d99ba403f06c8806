"""The file of static services: instances that no registry knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from svc.errors import ConfigError
from svc.instance import Service
from svc.router.table import Target, from_service

REQUIRED = ("name", "host", "port")
KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "text"),
    "host": (str, "text"),
    "port": (int, "a whole number"),
    "weight": (int, "a whole number"),
    "metadata": (dict, "an object"),
    "url": (str, "text"),
}


def read_static(path: Path) -> list[Target]:
    """Static services: [...], {"services": [...]} or {"static_services": {"services": [...]}}; raises ConfigError."""
    try:
        told = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    for key in ("static_services", "services"):
        if isinstance(told, dict) and key in told:
            told = told[key]
    if not isinstance(told, list):
        raise ConfigError(f'{path}: must be a list of services, or {{"services": [...]}}')
    problems: list[str] = []
    targets = []
    for i, entry in enumerate(told):
        wrong = [f"{path}: services[{i}]: {problem}" for problem in _problems(entry)]
        problems += wrong
        if not wrong:
            targets.append(_target(entry))
    names = [entry.get("name") for entry in told if isinstance(entry, dict)]
    problems += [
        f"{path}: two services are called {name!r}; give each its own name"
        for name in sorted({n for n in names if isinstance(n, str) and names.count(n) > 1})
    ]
    if problems:
        raise ConfigError(*problems)
    return [t for t in targets if t is not None]


def _problems(entry: Any) -> Iterator[str]:
    """Everything that is wrong with one service."""
    if not isinstance(entry, dict):
        yield "must be an object with name, host and port"
        return
    fit: dict[str, Any] = {}
    for key, (kind, words) in KINDS.items():
        value = entry.get(key)
        if key not in entry:
            if key in REQUIRED:
                yield f"{key} is missing"
        elif not isinstance(value, kind) or isinstance(value, bool):
            yield f"{key}: must be {words}, not {value!r}"
        elif value == "":
            yield f"{key}: must not be empty"
        else:
            fit[key] = value
    if not 1 <= fit.get("port", 1) <= 65535:
        yield f"port: must be from 1 to 65535, not {fit['port']}"
    if fit.get("weight", 1) < 0:
        yield "weight: must not be negative"
    models = fit.get("metadata", {}).get("models", [])
    if not isinstance(models, list) or not all(isinstance(m, str) for m in models):
        yield f"metadata: models: must be a list of names, not {models!r}"
    if "url" in fit and _target({"name": "", "host": "", "port": 1, "url": fit["url"]}) is None:
        yield f"url: must be http://HOST:PORT or https://HOST:PORT, not {fit['url']!r}"


def _target(entry: dict[str, Any]) -> Target | None:
    host = f"[{entry['host']}]" if ":" in entry["host"] else entry["host"]
    service = Service(
        name=entry["name"],
        host=entry["host"],
        port=entry["port"],
        hostname=entry["host"],
        url=entry.get("url") or f"http://{host}:{entry['port']}",
        status="running",
        weight=entry.get("weight", 1),
        metadata=entry.get("metadata", {}),
    )
    return from_service(service, static=True)
