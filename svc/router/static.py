"""The file of static services: instances that no registry knows."""

from pathlib import Path
from typing import Any

import msgspec

from svc.errors import ConfigError
from svc.instance import Service
from svc.router.table import Target, from_service


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
    targets = [t for i, entry in enumerate(told) if (t := _static(entry, f"{path}: services[{i}]", problems))]
    names = [t.name for t in targets]
    problems += [
        f"{path}: two services are called {n!r}; give each its own name"
        for n in {n for n in names if names.count(n) > 1}
    ]
    if problems:
        raise ConfigError(*problems)
    return targets


def _static(entry: Any, where: str, problems: list[str]) -> Target | None:
    before = len(problems)
    if not isinstance(entry, dict):
        problems.append(f"{where}: must be an object with name, host and port")
        return None
    kinds: dict[str, type] = {"name": str, "host": str, "port": int, "weight": int, "metadata": dict, "url": str}
    for key, kind in kinds.items():
        value = entry.get(key)
        if key not in entry:
            if key in ("name", "host", "port"):
                problems.append(f"{where}: {key} is missing")
        elif not isinstance(value, kind) or isinstance(value, bool) or value == "":
            problems.append(f"{where}: {key}: must be {kind.__name__}, not {value!r}")
    if len(problems) > before:
        return None
    if not 1 <= entry["port"] <= 65535:
        problems.append(f"{where}: port: must be from 1 to 65535, not {entry['port']}")
        return None
    if entry.get("weight", 1) < 0:
        problems.append(f"{where}: weight: must not be negative")
        return None
    host = f"[{entry['host']}]" if ":" in entry["host"] else entry["host"]
    target = from_service(
        Service(
            name=entry["name"],
            host=entry["host"],
            port=entry["port"],
            hostname=entry["host"],
            url=entry.get("url") or f"http://{host}:{entry['port']}",
            status="running",
            weight=entry.get("weight", 1),
            metadata=entry.get("metadata", {}),
        ),
        static=True,
    )
    if target is None:
        problems.append(f"{where}: url: must be http://HOST:PORT or https://HOST:PORT, not {entry.get('url')!r}")
    return target
