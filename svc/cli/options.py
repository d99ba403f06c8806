"""Options that several commands share, and flags that are generated from the settings."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svc import settings as s
from svc.config.settings_file import load_settings
from svc.config.site import Site

if TYPE_CHECKING:
    from svc.terminal.console import Console

HERE = Site(Path())  # commands work on the current directory
CLICK_TYPES: dict[Any, Any] = {int: int, float: float}

tomls_argument = click.argument("tomls", nargs=-1, metavar="[TOML...]")
config_file_option = click.option("--config-file", required=True, metavar="TOML", help="the instance's babysitter TOML")


def flags_of(cls: type, **more: list[str]) -> Callable[[Any], Any]:
    """Add a flag for every setting of a section; the value of an absent flag is None.

    `more` has further names for the flag of a setting.
    """

    def add(function: Any) -> Any:
        for field in reversed(dataclasses.fields(cls)):
            names = ["--" + field.name.replace("_", "-"), *more.get(field.name, []), field.name]
            function = click.option(*names, default=None, help=_help(field), **_type(field))(function)
        return function

    return add


def settings(environ: bool = True, **flags: dict[str, Any]) -> s.Settings:
    """Return the site's settings. `flags` win over the environment, and the environment over config/svc.toml.

    Without `environ` the environment is not read.
    """
    return load_settings(HERE.svc_toml, os.environ if environ else None, flags)


def console() -> "Console":
    """Return the console on stdout, with colour and motion only on a terminal."""
    from svc.terminal.console import Console  # here, so that servers do not load rich

    return Console()


def _type(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if field.type is bool:
        return {"is_flag": True}
    if field.type is s.NameTable:
        return {"multiple": True, "metavar": "NAME=VALUE"}
    if field.type is s.TextList:
        return {"metavar": "TEXT[,TEXT]"}
    if s.rules_of(field).choices:
        return {"type": click.Choice(s.rules_of(field).choices)}
    return {"type": CLICK_TYPES.get(field.type, str)}


def _help(field: dataclasses.Field[Any]) -> str:
    """Return the help of a setting, followed by its environment variable and its default in brackets, if any."""
    rules, default = s.rules_of(field), field.default
    if default in ("", False, ()):
        return rules.help + (f"  [{rules.variable}]" if rules.variable else "")
    text = f"{default:g}" if isinstance(default, float) else default
    return f"{rules.help}  [{rules.variable or 'default'}: {text}]"
