"""How the command line is made of the settings, and how a command's failure is told."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from svc import settings as s
from svc.base.errors import ConfigError, SvcError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.terminal.output import echo

HERE = Site(Path())  # commands work on the current directory
INTERRUPTED = 130  # the exit code that shells give to Ctrl-C
KINDS: dict[Any, Any] = {int: int, float: float}


class Commands(click.Group):
    """Tells our failures in one line each; a command of another module is loaded when it is asked for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.elsewhere: dict[str, str] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.elsewhere])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.elsewhere:
            return super().get_command(ctx, name)
        module, _, attribute = self.elsewhere[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SvcError as error:
            for line in error.problems if isinstance(error, ConfigError) else (error.message,):
                echo(f"svc: {line}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


def flags_of(cls: type, **more: list[str]) -> Callable[[Any], Any]:
    """A flag for every setting of a section, with `more` names for some; one that is not given is None."""

    def add(function: Any) -> Any:
        for field in reversed(dataclasses.fields(cls)):
            names = ["--" + field.name.replace("_", "-"), *more.get(field.name, []), field.name]
            function = click.option(*names, default=None, help=_help(field), **_type(field))(function)
        return function

    return add


def settings(environ: bool = True, **flags: dict[str, Any]) -> s.Settings:
    """The site's settings: flags, then (if wanted) the environment, then config/svc.toml."""
    return load_settings(HERE.svc_toml, os.environ if environ else None, flags)


def console() -> Any:
    """Where people read: stdout, with colour and motion only on a terminal."""
    from svc.terminal.console import Console

    return Console()


def _type(field: Any) -> dict[str, Any]:
    if field.type is bool:
        return {"is_flag": True}
    if field.type is s.NameTable:
        return {"multiple": True, "metavar": "NAME=VALUE"}
    if field.type is s.TextList:
        return {"metavar": "TEXT[,TEXT]"}
    if s.rules_of(field).choices:
        return {"type": click.Choice(s.rules_of(field).choices)}
    return {"type": KINDS.get(field.type, str)}


def _help(field: Any) -> str:
    """What it is, then in brackets its variable and its default, as far as it has them."""
    variable, default = s.rules_of(field).variable, field.default
    if default in ("", False, ()):
        return s.rules_of(field).help + (f"  [{variable}]" if variable else "")
    shown = f"{default:g}" if isinstance(default, float) else default
    return f"{s.rules_of(field).help}  [{variable or 'default'}: {shown}]"
