"""Options that several commands share, and flags that are generated from the settings."""

import dataclasses
import os
import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from svc import settings as s
from svc.base import setting
from svc.base.own_commands import command_name, program_beside
from svc.config.settings_file import load_settings
from svc.config.site import Site

if TYPE_CHECKING:
    from svc.terminal.console import Console

HERE = Site(Path())  # commands work on the current directory
DEFAULT_KEYS_FILE = "keys.toml"  # file in var/
TIME = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smh]?)")
SECONDS_PER_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600}
CLICK_TYPES: dict[Any, Any] = {int: int, float: float}

# Settings whose value is the path of a file, in addition to all settings whose name ends with "file".
FILE_SETTINGS = ("static_services", "access_log", "upstream_ca")


class Seconds(click.ParamType):
    """A time in seconds, minutes or hours: 30, 30s, 5m, 1h; returned in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        if (time := TIME.fullmatch(value)) is None:
            self.fail(f"{value!r} is no time; give seconds, or 30s, 5m, 1h", param, ctx)
        return float(time[1]) * SECONDS_PER_UNIT[time[2]]


def complete_files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Make the shell complete the path of a file."""
    return [CompletionItem(incomplete, type="file")]


tomls_argument = click.argument("tomls", nargs=-1, metavar="[TOML...]", shell_complete=complete_files)
config_file_option = click.option(
    "--config-file",
    required=True,
    metavar="TOML",
    help="the instance's babysitter TOML",
    shell_complete=complete_files,
)


def flags_of(cls: type, **more: list[str]) -> Callable[[Any], Any]:
    """Return a decorator that adds a flag for every setting of a section; the value of an absent flag is None.

    `more` maps a setting to additional names of its flag.
    """

    def add(function: Any) -> Any:
        for field in reversed(dataclasses.fields(cls)):
            names = ["--" + field.name.replace("_", "-"), *more.get(field.name, []), field.name]
            function = click.option(*names, default=None, help=_help(field), **_type(field))(function)
        return function

    return add


def settings(environ: bool = True, check_rules: bool = False, **flags: dict[str, Any]) -> s.Settings:
    """Return the site's settings. `flags` override the environment, which overrides config/svc.toml.

    If `environ` is False, the environment is not read. Errors in [[model]] and [[schedule]] raise ConfigError only with
    `check_rules`, so that they stop neither a server nor a command that observes the site.
    """
    return load_settings(HERE.svc_toml, os.environ if environ else None, flags, check_rules)


def keys_file_of_site(given: Path | None) -> tuple[Path, bool]:
    """Return the file of API keys (`given`, else the configured one), and whether the site's router reads it."""
    configured = settings().router.keys_file
    path = given or Path(configured or HERE.var / DEFAULT_KEYS_FILE)
    return path, bool(configured) and os.path.realpath(configured) == os.path.realpath(path)


def console() -> "Console":
    """Return the console for stdout, which uses colours and motion only on a terminal."""
    from svc.terminal.console import Console  # here, so that servers do not load rich

    return Console()


def supervisorctl() -> str:
    """Return the command that runs supervisorctl for this site from the current directory."""
    program = program_beside("supervisorctl")
    if not HERE.supervisord_conf.exists() and os.path.exists(HERE.var_supervisord_conf):
        program += f" -c {shlex.quote(str(HERE.var_supervisord_conf))}"
    return program


def delay_reasons(names: Collection[str]) -> list[str]:
    """Return lines with the doctor's findings about the components in `names`, which are not ready."""
    from svc.doctor.delay_reasons import delay_reasons  # here, because only a command that waits long needs it

    return delay_reasons(HERE, os.environ, names, command_name(), supervisorctl())


def _type(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if field.type is bool:
        return {"is_flag": True}
    if field.type is setting.NameTable:
        return {"multiple": True, "metavar": "NAME=VALUE"}
    if field.type is setting.TextList:
        return {"metavar": "TEXT[,TEXT]"}
    if setting.rules_of(field).choices:
        return {"type": click.Choice(setting.rules_of(field).choices)}
    if field.name.endswith("file") or field.name in FILE_SETTINGS:
        return {"shell_complete": complete_files}
    return {"type": CLICK_TYPES.get(field.type, str)}


def _help(field: dataclasses.Field[Any]) -> str:
    """Return the help of a setting, followed in brackets by its environment variable and default, if it has any."""
    rules, default = setting.rules_of(field), field.default
    if default in ("", False, ()):
        return rules.help + (f"  [{rules.variable}]" if rules.variable else "")
    text = f"{default:g}" if isinstance(default, float) else default
    return f"{rules.help}  [{rules.variable or 'default'}: {text}]"
