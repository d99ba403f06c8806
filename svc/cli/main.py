"""The command line of `svc`: the list of commands, and the report of a command's failure."""

import importlib
import sys
from typing import Any

import click

from svc.base.errors import ConfigError, SvcError
from svc.terminal.output import echo

INTERRUPTED_EXIT_CODE = 130  # as shells report Ctrl-C

# The command NAME is the function `command` in svc/cli/NAME.py. The file is loaded only when its command is used, so
# that a command does not wait for the imports of all others.
COMMANDS = (
    "apply",
    "babysitter",
    "check",
    "doctor",
    "down",
    "drain",
    "engine",
    "events",
    "health",
    "keys",
    "launch",
    "llama",
    "logs",
    "mock",
    "plan",
    "registry",
    "remove",
    "render",
    "rollout",
    "router",
    "run",
    "services",
    "status",
    "top",
    "undrain",
    "up",
)


class CommandTable(click.Group):
    """Loads a command when it is used, and reports its failure with one line for each problem."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command by its name."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"svc.cli.{name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an SvcError to stderr and exit with 1."""
        try:
            return super().invoke(ctx)
        except SvcError as error:
            for line in error.problems if isinstance(error, ConfigError) else (error.message,):
                echo(f"svc: {line}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED_EXIT_CODE)


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="infinilm-svc")
def svc() -> None:
    """The control plane around your LLM servers: registry, router, babysitters, supervisord.

    \b
    A site is a directory with config/*.toml. Work on the current directory:
      svc check      validate the files
      svc render     write conf.d/ from the files
      svc up         start everything and wait until it answers
      svc status     show every program and its health
      svc doctor     show what is wrong, why, and what cures it
      svc down       stop everything
    supervisorctl start, stop and restart work as usual.
    """
