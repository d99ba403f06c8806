"""The completions of names in a shell: instances and programs of the site, or the registry's services.

The shell waits for these functions, so they must be quick.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from svc.base.errors import SvcError
from svc.cli.options import HERE
from svc.config.instance.fields import NAME
from svc.config.readers import parse_toml
from svc.protocol.instance_names import instance_name

SINGLE_PROGRAMS = ("registry", "router")
REGISTRY_TIMEOUT_SECONDS = 1.0


def instances(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the site's instances, its registry and router, and `all`."""
    return _items([*site_instances(), *SINGLE_PROGRAMS, "all"], incomplete)


def programs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names for which `svc logs` has log files."""
    return _items([*site_instances(), *SINGLE_PROGRAMS, "supervisord", "all"], incomplete)


def services(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the site's instances, and those that the registry lists."""
    names = set(site_instances())
    with suppress(SvcError, OSError):
        names |= {instance_name(name) for name in _registered(context)}
    return _items(sorted(names), incomplete)


def site_instances() -> Iterator[str]:
    """Yield the names of the site's instances, from config/*.toml and from the files in conf.d, also in var/."""
    names = {path.stem for directory in (HERE.conf_d, HERE.var_conf_d) for path in directory.glob("*.conf")}
    names |= {name for path in HERE.tomls() if (name := _name_in(path))}
    return iter(sorted(names - set(SINGLE_PROGRAMS)))


def _name_in(path: Path) -> str:
    """Return the name that a TOML gives to its instance; empty if it gives none or cannot be read."""
    with suppress(OSError, ValueError):
        name = parse_toml(path.read_bytes()).get("name")
        return name if isinstance(name, str) else ""
    return ""


def _registered(context: click.Context) -> Iterable[str]:
    from svc.cli.registry_options import Access  # here, because its client takes 0.2 s to import

    access = Access(context.params.get("registry_url"), context.params.get("token_file"))
    client = access.client(read=True)
    client.timeout = REGISTRY_TIMEOUT_SECONDS
    return [service["name"] for service in client.services()]


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return the valid names with this beginning: shells do not quote what they insert into a command line."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and NAME.fullmatch(name)]
