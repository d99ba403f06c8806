"""Load babysitter TOML files; report all problems of all files at once, as `FILE: key: what is wrong; what to do`."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import is_loopback, split_urls
from svc.base.errors import ConfigError
from svc.base.similar_names import did_you_mean
from svc.base.toml import parse_toml
from svc.config.instance import collisions, schema, site_values
from svc.config.instance.fields import Field
from svc.config.instance.model import Backend, InfinilmBackend, InstanceConfig
from svc.config.readers import MultipleErrors, quoted
from svc.protocol.resources import SLEEP_BY_VLLM, Resources
from svc.settings import Settings

STORE_WITH_PASSWORD = re.compile(r"(rediss?|unix)://.*:.*@")
SECTIONS = ("babysitter", "backend", "resources", "metadata")
TYPES_WITH_SLEEP_MODE = ("vllm", "command", "mock")
LAUNCH_SCRIPTS = ("launch_server.py", "scripts/launch_server.py", "InfiniLM/scripts/launch_server.py")
Report = Callable[[str, str], None]  # called with the key and the message of each problem


def load_one(path: Path, settings: Settings) -> InstanceConfig:
    """Return the configuration in one file; raise ConfigError with every problem of the file."""
    return load([path], settings)[0]


def load(paths: Sequence[Path], settings: Settings) -> list[InstanceConfig]:
    """Return the configuration in each file; raise ConfigError with every problem, including collisions of files."""
    problems: list[str] = []
    configs, claims = [], []
    for path in {os.path.abspath(p): p for p in paths}.values():

        def report(key: str, message: str, path: Path = path) -> None:
            problems.append(": ".join(part for part in (str(path), key, message) if part))

        document = _read(path, report)
        if document is None:
            continue
        before = len(problems)
        values = _values(document, settings, report)
        claims.append(collisions.Claim(str(path), values.get("name"), values.get("port")))
        if len(problems) == before and (config := _instance_config(values, path, report)):
            configs.append(config)
    problems += [*collisions.collisions(claims, settings), *store_problems(settings)]
    if problems:
        raise ConfigError(*problems)
    return configs


def store_problems(settings: Settings) -> Iterator[str]:
    """Yield an error message if the registry's `store` URL contains a password, which would be written to conf.d."""
    if STORE_WITH_PASSWORD.match(settings.registry.store):
        yield (
            "[registry] store (config/svc.toml or REGISTRY_STORE): has a password, which would stand in conf.d; "
            "write it into a file and name that one: store_password_file"
        )


def _read(path: Path, report: Report) -> dict[str, Any] | None:
    try:
        return parse_toml(path.read_bytes())
    except FileNotFoundError:
        report("", "no such file; check the path")
    except OSError as error:
        report("", f"cannot read it: {error.strerror}; check the path and its permissions")
    except ValueError as error:
        report("", str(error))
    return None


def _values(document: dict[str, Any], settings: Settings, report: Report) -> dict[str, Any]:
    """Return every valid value of the file, with the defaults; report the invalid values."""
    unused = site_values.unused_registries(document, settings)
    document |= {key: value for key, value in site_values.overrides(document, settings).items() if value}
    sections = {name: _section(document, name, report) for name in ("babysitter", "backend", "resources")}
    top = {key: value for key, value in document.items() if key not in sections}
    values = _validate_table(top, schema.TOP_LEVEL, "", report)
    values |= _validate_table(sections["babysitter"], schema.BABYSITTER, "babysitter.", report)
    if isinstance(document.get("resources"), dict):
        values["resources"] = _resources(sections["resources"], report)
    values |= _backend(sections["backend"], "backend" in document, report)
    if "registry_url" in values and values["registry_url"] is None:
        values["registry_url"] = tuple(split_urls(settings.registry_url()))
    if "name" in values and values["name"] is None:
        values["name"] = f"{values['type']}-{values['port']}" if {"type", "port"} <= values.keys() else None
    values |= {"registry_setting": site_values.registry_setting(settings.launch), "unused_registry_urls": unused}
    _check_reachable(values, report)
    _check_sleep(values, report)
    uses_own_registry = bool({*split_urls(settings.registry_url())} & {*(values.get("registry_url") or ())})
    if uses_own_registry and settings.registry.loopback_needs_token and not values.get("token_file", "?"):
        report("token_file", "missing; the site's registry needs a token from this machine too (loopback_needs_token)")
    return values


def _section(document: dict[str, Any], name: str, report: Report) -> dict[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        report(name, f"must be a section, not {quoted(section)}; write [{name}]")
        return {}
    return section


def _validate_table(
    table: Mapping[str, Any], known: Mapping[str, Field], prefix: str, report: Report
) -> dict[str, Any]:
    """Return the valid values of one table and the defaults of its missing keys; report all problems."""
    for key in table:
        if key not in known:
            report(prefix + key, f"unknown key; {_cure(key, known, prefix)}")
    values = {}
    for key, field in known.items():
        if key not in table:
            if field.required:
                report(prefix + key, f"missing; {field.required}")
            else:
                values[key] = field.default
            continue
        try:
            values[key] = field.read(table[key])
        except MultipleErrors as error:
            for suffix, message in error.problems:
                report(prefix + key + suffix, message)
        except ValueError as error:
            report(prefix + key, str(error))
    return values


def _cure(key: str, known: Mapping[str, Field], prefix: str) -> str:
    if question := did_you_mean(key, [*known, *(SECTIONS if not prefix else ())], ""):
        return question
    homes: dict[str, list[str]] = {
        "": list(schema.TOP_LEVEL),
        "babysitter.": list(schema.BABYSITTER),
        "backend.": [*schema.EVERY_BACKEND, "type", "command"],
        "resources.": list(schema.RESOURCES),
    }
    for home, known_keys in homes.items():
        if home != prefix and key in known_keys:
            return f"it belongs {f'in [{home[:-1]}]' if home else 'at the top, before any section'}"
    return f"there are {', '.join(known)}"


def _resources(table: Mapping[str, Any], report: Report) -> Resources:
    values = _validate_table(table, schema.RESOURCES, "resources.", report)
    gpus, memory = values.get("gpus", ()), values.get("gpu_memory", 0)
    return Resources(count=gpus, memory=memory) if isinstance(gpus, int) else Resources(gpus=gpus, memory=memory)


def _check_sleep(values: Mapping[str, Any], report: Report) -> None:
    """Report a problem if vLLM's sleep mode is set for another type of server."""
    if values.get("sleep") == SLEEP_BY_VLLM and values.get("type", "vllm") not in TYPES_WITH_SLEEP_MODE:
        report("babysitter.sleep", f"a server of type {values['type']} has no sleep mode; remove the key")


def _backend(table: dict[str, Any], is_given: bool, report: Report) -> dict[str, Any]:
    kinds = ", ".join(schema.BACKENDS)
    if "type" not in table:
        report("backend.type" if is_given else "backend", f"missing; give [backend] a type, one of {kinds}")
        _check_keys_of_any_type(table, report)
        return {}
    if table["type"] not in list(schema.BACKENDS):
        cure = did_you_mean(str(table["type"]), schema.BACKENDS, f"choose one of {kinds}")
        report("backend.type", f"there is no type {quoted(table['type'])}; {cure}")
        _check_keys_of_any_type(table, report)
        return {}
    cls, known = schema.BACKENDS[table["type"]]
    values = _validate_table({k: v for k, v in table.items() if k != "type"}, known, "backend.", report)
    _check_api_key(values, cls, report)
    kind = {"type": table["type"]}
    return kind | {"backend": cls(**values)} if len(values) == len(known) else kind


def _check_keys_of_any_type(table: Mapping[str, Any], report: Report) -> None:
    """Check a backend of unknown type: report keys that exist in no type, and wrong values of all other keys."""
    known = {key: field for _, fields in schema.BACKENDS.values() for key, field in fields.items()}
    given = {key: value for key, value in table.items() if key != "type"}
    _validate_table(
        given, {key: dataclasses.replace(field, required="") for key, field in known.items()}, "backend.", report
    )


def _check_api_key(values: Mapping[str, Any], cls: type[Backend], report: Report) -> None:
    """Report `api_key_variable` without a key file, and a variable in `env` that the key file sets already."""
    file, variable = values.get("api_key_file"), values.get("api_key_variable")
    if variable and not file:
        report("backend.api_key_variable", "has no key to hold; name the key's file, too: api_key_file")
    name = variable or cls.key_variable
    if file and name in values.get("env", {}):
        report(f"backend.env.{name}", "is set from api_key_file; take it out of env")


def _check_reachable(values: dict[str, Any], report: Report) -> None:
    """Report a loopback host if a registry is on another machine, because the instance cannot be reached from there."""
    host, urls = values.get("host"), values.get("registry_url") or ()
    remote_urls = [url for url in urls if not is_loopback(urlsplit(url).hostname or "")]
    if host and remote_urls and is_loopback(host):
        report(
            "host",
            f"{quoted(host)} means this machine only, but the registry {remote_urls[0]} is on another; "
            "give this machine's name or address, here or in BABYSITTER_HOST",
        )


def _instance_config(values: dict[str, Any], path: Path, report: Report) -> InstanceConfig | None:
    backend = values["backend"]
    if isinstance(backend, InfinilmBackend) and not backend.launch_script:
        start = Path(backend.work_dir)
        script = next((path for path in LAUNCH_SCRIPTS if (start / path).is_file()), None)
        if script is None:
            where = backend.work_dir or "the site's directory"
            report("backend.launch_script", f"missing, and {where} has no {' or '.join(LAUNCH_SCRIPTS)}; give its path")
            return None
        backend = dataclasses.replace(backend, launch_script=script)
    fields_of_file = {
        key: values[key] for key in (*schema.BABYSITTER, "name", "host", "port", "router_url", "token_file")
    }
    return InstanceConfig(
        **fields_of_file,
        registry_urls=values["registry_url"],
        registry_setting=values["registry_setting"],
        unused_registry_urls=values["unused_registry_urls"],
        backend=backend,
        resources=values.get("resources", Resources()),
        metadata=values["metadata"],
        source=path,
    )
