"""Loads babysitter TOML files. Reports every problem of every file at once: `FILE: key: what is wrong; what to do`."""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import is_loopback
from svc.base.errors import ConfigError
from svc.config.instance import collisions, fields, keys
from svc.config.instance.fields import Field
from svc.config.instance.model import Backend, InfinilmBackend, InstanceConfig
from svc.config.readers import parse_toml, quoted
from svc.settings import Settings

STORE_WITH_PASSWORD = re.compile(r"(rediss?|unix)://.*:.*@")
SECTIONS = ("babysitter", "backend", "metadata")
LAUNCH_SCRIPTS = ("launch_server.py", "scripts/launch_server.py", "InfiniLM/scripts/launch_server.py")
Tell = Callable[[str, str], None]  # key, message


def load_one(path: Path, settings: Settings) -> InstanceConfig:
    """Raises ConfigError with every problem of the file."""
    return load([path], settings)[0]


def load(paths: Sequence[Path], settings: Settings) -> list[InstanceConfig]:
    """Raises ConfigError with every problem of every file, and those that only show across files."""
    problems: list[str] = []
    configs, claims = [], []
    for path in {os.path.abspath(p): p for p in paths}.values():

        def tell(key: str, message: str, path: Path = path) -> None:
            problems.append(": ".join(part for part in (str(path), key, message) if part))

        read = _read(path, tell)
        if read is None:
            continue
        before = len(problems)
        values = _values(read, settings, tell)
        claims.append(collisions.Claim(str(path), values.get("name"), values.get("port")))
        if len(problems) == before and (config := _instance_config(values, path, tell)):
            configs.append(config)
    problems += [*collisions.between(claims, settings), *store_problems(settings)]
    if problems:
        raise ConfigError(*problems)
    return configs


def store_problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the registry's store; it must not put a password into conf.d."""
    if STORE_WITH_PASSWORD.match(settings.registry.store):
        yield (
            "[registry] store (config/svc.toml or REGISTRY_STORE): has a password, which would stand in conf.d; "
            "write it into a file and name that one: store_password_file"
        )


def _read(path: Path, tell: Tell) -> dict[str, Any] | None:
    try:
        return parse_toml(path.read_bytes())
    except FileNotFoundError:
        tell("", "no such file; check the path")
    except OSError as error:
        tell("", f"cannot read it: {error.strerror}; check the path and its permissions")
    except ValueError as error:
        tell("", str(error))
    return None


def _values(read: dict[str, Any], settings: Settings, tell: Tell) -> dict[str, Any]:
    """Every value of the file that is right, with the defaults; the others are told of."""
    launch = settings.launch
    over = {"host": launch.babysitter_host, "registry_url": launch.registry_url, "router_url": launch.router_url}
    asked = read | {key: told for key, told in over.items() if told}
    sections = {name: _section(asked, name, tell) for name in ("babysitter", "backend")}
    top = {key: value for key, value in asked.items() if key not in sections}
    values = _walk(top, keys.TOP, "", tell)
    values |= _walk(sections["babysitter"], keys.BABYSITTER, "babysitter.", tell)
    values |= _backend(sections["backend"], "backend" in asked, tell)
    if "registry_url" in values and values["registry_url"] is None:
        values["registry_url"] = (settings.registry_url().rstrip("/"),)
    if "name" in values and values["name"] is None:
        values["name"] = f"{values['type']}-{values['port']}" if {"type", "port"} <= values.keys() else None
    _reachable(values, tell)
    own = settings.registry_url().rstrip("/") in (values.get("registry_url") or ())
    if own and settings.registry.loopback_needs_token and not values.get("token_file", "?"):
        tell("token_file", "missing; the site's registry needs a token from this machine too (loopback_needs_token)")
    return values


def _section(read: dict[str, Any], name: str, tell: Tell) -> dict[str, Any]:
    section = read.get(name, {})
    if not isinstance(section, dict):
        tell(name, f"must be a section, not {quoted(section)}; write [{name}]")
        return {}
    return section


def _walk(table: Mapping[str, Any], known: Mapping[str, Field], prefix: str, tell: Tell) -> dict[str, Any]:
    """The values of one table that are right."""
    for key in table:
        if key not in known:
            tell(prefix + key, f"unknown key; {_cure(key, known, prefix)}")
    values = {}
    for key, field in known.items():
        if key not in table:
            if field.required:
                tell(prefix + key, f"missing; {field.required}")
            else:
                values[key] = field.default
            continue
        try:
            values[key] = field.read(table[key])
        except fields.Several as error:
            for suffix, message in error.wrong:
                tell(prefix + key + suffix, message)
        except ValueError as error:
            tell(prefix + key, str(error))
    return values


def _cure(key: str, known: Mapping[str, Field], prefix: str) -> str:
    if close := difflib.get_close_matches(key, [*known, *(SECTIONS if not prefix else ())], 1):
        return f"did you mean {close[0]}?"
    homes: dict[str, list[str]] = {
        "": list(keys.TOP),
        "babysitter.": list(keys.BABYSITTER),
        "backend.": [*keys.COMMON, "type", "command"],
    }
    for home, there in homes.items():
        if home != prefix and key in there:
            return f"it belongs {f'in [{home[:-1]}]' if home else 'at the top, before any section'}"
    return f"there are {', '.join(known)}"


def _backend(table: dict[str, Any], there: bool, tell: Tell) -> dict[str, Any]:
    kinds = ", ".join(keys.BACKENDS)
    if "type" not in table:
        tell("backend.type" if there else "backend", f"missing; give [backend] a type, one of {kinds}")
        return {}
    if table["type"] not in list(keys.BACKENDS):
        close = difflib.get_close_matches(str(table["type"]), keys.BACKENDS, 1)
        cure = f"did you mean {close[0]}?" if close else f"choose one of {kinds}"
        tell("backend.type", f"there is no type {quoted(table['type'])}; {cure}")
        return {}
    cls, known = keys.BACKENDS[table["type"]]
    values = _walk({k: v for k, v in table.items() if k != "type"}, known, "backend.", tell)
    _key_settings(values, cls, tell)
    made = {"type": table["type"]}
    return made | {"backend": cls(**values)} if len(values) == len(known) else made


def _key_settings(values: Mapping[str, Any], cls: type[Backend], tell: Tell) -> None:
    """A variable for the engine's API key needs the file that holds it, and no second value."""
    file, variable = values.get("api_key_file"), values.get("api_key_variable")
    if variable and not file:
        tell("backend.api_key_variable", "has no key to hold; name the key's file, too: api_key_file")
    name = variable or cls.key_variable
    if file and name in values.get("env", {}):
        tell(f"backend.env.{name}", "is set from api_key_file; take it out of env")


def _reachable(values: dict[str, Any], tell: Tell) -> None:
    """A registry on another machine cannot send anyone to `localhost`."""
    host, urls = values.get("host"), values.get("registry_url") or ()
    away = [url for url in urls if not is_loopback(urlsplit(url).hostname or "")]
    if host and away and is_loopback(host):
        tell(
            "host",
            f"{quoted(host)} means this machine only, but the registry {away[0]} is on another; "
            "give this machine's name or address, here or in BABYSITTER_HOST",
        )


def _instance_config(values: dict[str, Any], path: Path, tell: Tell) -> InstanceConfig | None:
    backend = values["backend"]
    if isinstance(backend, InfinilmBackend) and not backend.launch_script:
        start = Path(backend.work_dir)
        found = next((s for s in LAUNCH_SCRIPTS if (start / s).is_file()), None)
        if found is None:
            where = backend.work_dir or "the site's directory"
            tell("backend.launch_script", f"missing, and {where} has no {' or '.join(LAUNCH_SCRIPTS)}; give its path")
            return None
        backend = dataclasses.replace(backend, launch_script=found)
    kept = {key: values[key] for key in (*keys.BABYSITTER, "name", "host", "port", "router_url", "token_file")}
    return InstanceConfig(
        **kept,
        registry_urls=values["registry_url"],
        backend=backend,
        metadata=values["metadata"],
        source=path,
    )
