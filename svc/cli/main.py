"""The command line of `svc`: the list of commands, and the error output of a failed command."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from svc.base.errors import ConfigError, SvcError
from svc.base.file_owner import other_owner
from svc.base.own_commands import as_user, command_name, with_usable_commands
from svc.cli import wrong_verbs
from svc.cli.group import CommandGroup
from svc.terminal.output import echo

INTERRUPTED_EXIT_CODE = 130  # the exit code that shells use for Ctrl-C

# The command NAME is the function `command` in svc/cli/NAME.py, with _ for -. The file is loaded only when its command
# is used, so that a command does not wait for the imports of all other commands. The summary is the first sentence of
# the command's help. It is repeated here, so that `svc --help` need not load the files.
COMMANDS = {
    "apply": "Update what runs to match the files, without failing a request.",
    "babysitter": "Run a babysitter alone, for an instance that svc does not run.",
    "check": "Validate the TOML files.",
    "completion": "Print the script that completes svc commands in your shell.",
    "doctor": "Show what is wrong with this site, why, and what cures it.",
    "down": "Stop the site, or one kind of its components.",
    "drain": "Send an instance no new requests.",
    "engine": "Send a management request to engines, without the router.",
    "events": "Show what happened to the services, and why.",
    "gpus": "Show the GPUs of all hosts, and which instances hold their memory.",
    "health": "Report whether everything that runs here can be used.",
    "keys": "Add, change, show, list and revoke API keys of the router.",
    "launch": "Prepare the start of a program of conf.d, then become that program.",
    "llama": "Serve a small real model on the CPU.",
    "logs": "Show the last lines of log files, and follow them.",
    "mock": "Run a fake OpenAI backend, for trying things out and for tests.",
    "mock-gpus": "Create simulated GPUs, for trying out models on demand.",
    "plan": "Show what `svc apply` would do to what runs here.",
    "prepare": "Make the site ready for the supervisord that its systemd unit starts.",
    "registry": "Run the registry in the foreground.",
    "remove": "Remove a service that is gone for good from the registry.",
    "render": "Write supervisord's files from the files in config/.",
    "rollout": "Restart instances one by one, without failing a request.",
    "route": "Show which instance a request would get, and why.",
    "router": "Run the router in the foreground.",
    "run": "Run one instance with its babysitter, without a site.",
    "services": "Show the services that the registry lists.",
    "sleep": "Put an instance on demand to sleep, so that its GPUs are free.",
    "status": "Show every program of the site and its health.",
    "top": "Show what the router does now, by model and by instance.",
    "undrain": "Send requests to a drained instance again.",
    "up": "Start the site, or bring a running one up to date.",
    "usage": "Show what keys, users and models have used.",
    "version": "Show the versions of svc, of Python and of the packages it uses.",
    "wake": "Wake an instance that is asleep, as a request for its model would.",
}
HIDDEN_COMMANDS = ("launch", "prepare")


class CommandTable(CommandGroup):
    """Loads a command when it is used, and prints one line for each problem if the command fails."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command `name`."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"svc.cli.{name.replace('-', '_')}").command
        return command

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the name and the summary of each command that the help lists, without loading the commands."""
        return [(name, summary) for name, summary in COMMANDS.items() if name not in HIDDEN_COMMANDS]

    def answer(self, ctx: click.Context, word: str, arguments: Sequence[str]) -> str:
        """Return the message for a word that is not a command of svc, but may be a command of a similar program."""
        from svc.cli.options import supervisorctl  # here, because it loads the settings

        answer = wrong_verbs.answer(word, arguments, command_name(), supervisorctl())
        return answer or super().answer(ctx, word, arguments)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an SvcError to stderr and exit with 1."""
        with reported_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
    """If the block raises an SvcError, print one line for each problem to stderr, and exit with 1."""
    try:
        yield
    except SvcError as error:
        for line in error.problems if isinstance(error, ConfigError) else (error.message,):
            echo(f"svc: {with_usable_commands(_with_unit_commands(line))}", err=True)
        sys.exit(1)
    except PermissionError as error:
        if not error.filename:  # the error is not about a file
            raise
        echo(f"svc: {_denied_text(error)}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT_CODE)


def _with_unit_commands(message: str) -> str:
    """Return the message; if systemd runs the current site, commands of systemctl replace `svc up` and `svc down`."""
    if "svc up" not in message and "svc down" not in message:
        return message
    from svc.cli.options import HERE  # here, because most commands need no hint
    from svc.site import systemd_search

    unit = systemd_search.find(HERE)
    return unit.with_commands(message) if unit else message


def _denied_text(error: PermissionError) -> str:
    """Return the message for a file that the current user may not use.

    It contains a command that works, if there is one.
    """
    path = Path(os.fsdecode(error.filename))
    owner = other_owner(path)
    cure = f"it belongs to {owner}: run `{as_user(owner)}`" if owner else "check its owner and mode"
    return f"{path}: {(error.strerror or 'permission denied').lower()}; {cure}"


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
