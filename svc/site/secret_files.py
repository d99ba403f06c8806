"""Checks the files of keys that a site's programs read, before these programs start and fail."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from svc.base.errors import ConfigError, SvcError
from svc.base.secret_file import read
from svc.config import router_keys, upstream_keys
from svc.config.instance.load import load_one
from svc.protocol.engine_key import parse_key
from svc.settings import Settings
from svc.site.components import Component


def secret_file_problems(components: Iterable[Component], conf_d: Path, settings: Settings) -> list[str]:
    """Return a line for each problem with a file of keys; it begins with the component that reads the file."""
    return [f"{c.name}: {problem}" for c in components for problem in key_file_problems(c, conf_d, settings)]


def key_file_problems(component: Component, conf_d: Path, settings: Settings) -> list[str]:
    """Return a text for each problem with a file of keys that the component reads when it starts."""
    return [problem for check in _checks(component, conf_d, settings) for problem in _problems(check)]


def _checks(component: Component, conf_d: Path, settings: Settings) -> Iterator[Callable[[], object]]:
    """Yield, for each file of keys, a function that raises ConfigError if the file cannot be used."""
    router = settings.router
    if component.kind == "router" and router.keys_file:
        yield lambda: router_keys.read(Path(router.keys_file))
    if component.kind == "router" and router.upstream_keys_file:
        yield lambda: upstream_keys.load(Path(router.upstream_keys_file))
    if component.kind == "babysitter" and (file := _engine_key_file(conf_d / component.source, settings)):
        yield lambda: read(Path(file), parse_key, f"[backend] api_key_file in {component.toml}")


def _engine_key_file(source: Path, settings: Settings) -> str:
    try:
        return load_one(source, settings).backend.api_key_file
    except SvcError:
        return ""  # the check of the TOML reports this error


def _problems(check: Callable[[], object]) -> tuple[str, ...]:
    try:
        check()
    except ConfigError as error:
        return error.problems
    return ()
