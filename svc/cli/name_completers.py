"""Completes names in a shell: instances, programs, models and API keys of the site, and services in the registry.

The shell waits for these functions, so they must be quick.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from svc.base.errors import SvcError
from svc.base.toml import parse_toml
from svc.cli.options import HERE, keys_file_of_site, settings
from svc.config.instance.fields import NAME
from svc.protocol.instance_names import instance_name

SINGLE_PROGRAMS = ("registry", "router")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]*")
REGISTRY_TIMEOUT_SECONDS = 1.0


def instances(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the site's instances, its registry and router, and `all`."""
    return _items([*site_instances(), *SINGLE_PROGRAMS, "all"], incomplete)


def programs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names that `svc logs` accepts."""
    return _items([*site_instances(), *SINGLE_PROGRAMS, "supervisord", "all"], incomplete)


def services(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the site's instances, and the services in the registry's list."""
    names = set(site_instances())
    with suppress(SvcError, OSError):
        names |= {instance_name(service["name"]) for service in _registered(context)}
    return _items(sorted(names), incomplete)


def models(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the models of the registry's services, the models in the site's TOMLs, and the aliases."""
    names = {name for path in HERE.tomls() for name in _models_in(path)}
    with suppress(SvcError):
        names |= {alias for alias, _ in settings().router.aliases}
    with suppress(SvcError, OSError):
        names |= {
            name for service in _registered(context) for name in (service.get("metadata") or {}).get("models", ())
        }
    return _items(sorted(names), incomplete, MODEL)


def services_and_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what `services` and `models` return."""
    items = [*services(context, parameter, incomplete), *models(context, parameter, incomplete)]
    return list({item.value: item for item in items}.values())


def keys(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the API keys in the file of keys that the command would use."""
    # Imported here, because most commands have no key as an argument, and would wait 5 ms for these modules.
    from svc.config import router_keys
    from svc.config.router_key_entry import NAME as KEY_NAME

    with suppress(SvcError, OSError):
        path, _ = keys_file_of_site(context.params.get("file"))
        return _items(sorted(router_keys.read(path)), incomplete, KEY_NAME)
    return []


def site_instances() -> Iterator[str]:
    """Yield the names of the site's instances, from config/*.toml, conf.d and var/conf.d."""
    names = {path.stem for directory in (HERE.conf_d, HERE.var_conf_d) for path in directory.glob("*.conf")}
    names |= {name for path in HERE.tomls() if (name := _name_in(path))}
    return iter(sorted(names - set(SINGLE_PROGRAMS)))


def _name_in(path: Path) -> str:
    """Return the instance's name in a TOML; "" if the TOML contains no name or cannot be read."""
    name = _toml(path).get("name")
    return name if isinstance(name, str) else ""


def _models_in(path: Path) -> Iterator[str]:
    """Yield the models in a TOML: those in its metadata, and those of a mock."""
    for section in ("backend", "metadata"):
        table = _toml(path).get(section)
        listed = table.get("models") if isinstance(table, dict) else None
        yield from (name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()


def _toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML; {} if it cannot be read."""
    with suppress(OSError, ValueError):
        return parse_toml(path.read_bytes())
    return {}


def _registered(context: click.Context) -> list[dict[str, Any]]:
    from svc.cli.registry_options import Access  # here, because the import of its client takes 0.2 s

    access = Access(context.params.get("registry_url"), context.params.get("token_file"))
    client = access.client(read=True)
    client.timeout = REGISTRY_TIMEOUT_SECONDS
    return client.services()


def _items(names: Iterable[str], incomplete: str, valid: re.Pattern[str] = NAME) -> list[CompletionItem]:
    """Return the valid names that begin with `incomplete`. A shell would insert invalid names without quoting them."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and valid.fullmatch(name)]
