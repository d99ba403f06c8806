"""`infini-babysitter`, a program of the original: runs an instance and its babysitter, like `svc run`."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from svc.base import temporary_files
from svc.base.errors import CommandError, ConfigError
from svc.base.toml import parse_toml
from svc.cli.main import reported_errors
from svc.cli.options import HERE, console, settings
from svc.cli.original.babysitter_toml import BabysitterFlags, merged_document
from svc.cli.original.program import prepare
from svc.config.instance.load import load_one
from svc.config.toml_writer import toml_text
from svc.settings import Settings
from svc.site import single_instance

PROGRAM = "infini-babysitter"
# The flags that InfiniLM's own server also has. `True` marks a flag without a value.
SERVER_FLAGS = {
    "--dev": False,
    "--ndev": False,
    "--max-batch": False,
    "--max-tokens": False,
    "--request-timeout": False,
    "--max-concurrency": False,
    "--model-name": False,
    "--awq": True,
}


def server_flags(function: Any) -> Any:
    """Add the flags that are passed on to InfiniLM's server."""
    for flag, is_switch in reversed(SERVER_FLAGS.items()):
        function = click.option(flag, is_flag=is_switch, default=None, help="passed to InfiniLM's server")(function)
    return function


@click.command(PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--name", help="the instance's name  [default: TYPE-PORT]")
@click.option("--host", help="the address to register with  [BABYSITTER_HOST; default: localhost]")
@click.option("-p", "--port", type=int, help="the instance's port; the babysitter listens on the next one")
@click.option("--service-type", metavar="TYPE", help="InfiniLM, InfiniLM-Rust, vLLM, mock or command (the default)")
@click.option("--path", help="the model's path, or xtask's TOML for InfiniLM-Rust")
@click.option("--command", help="the program to run, with arguments")
@click.option("--args", help="more arguments, separated by blanks; the models of a mock, separated by commas")
@click.option("--work-dir", help="the program's working directory")
@click.option("--registry-url", "--registry", "registry_url", metavar="URL", help="the registry")
@click.option("--router-url", "--router", "router_url", metavar="URL", help="the router")
@click.option("--max-restarts", type=int, help="restarts until the instance is given up  [default: 10000]")
@click.option("--restart-delay", type=float, help="seconds until a restart  [default: 5]")
@click.option("--heartbeat-interval", type=float, help="seconds between heartbeats  [default: 30]")
@click.option("--config-file", metavar="TOML", help="a babysitter TOML; the flags override its values")
@click.option("--launch-script", help="InfiniLM's launch_server.py")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="a variable for the program; more may follow it")
@click.argument("more_env", nargs=-1, metavar="[NAME=VALUE]...")
@server_flags
@click.version_option(package_name="infinilm-svc")
def command(
    config_file: str | None,
    host: str | None,
    registry_url: str | None,
    router_url: str | None,
    env: tuple[str, ...],
    more_env: tuple[str, ...],
    **flags: Any,
) -> None:
    """Run one instance and its babysitter in the foreground, with the flags of the original.

    A flag overrides the TOML file of --config-file. SIGTERM and Ctrl-C end both programs. `svc run` does the same for
    a TOML file, and a site (`svc up`) for any number of them.
    """
    passed_on = tuple(_server_arguments(flags))
    launch = {"babysitter_host": host, "babysitter_registry_url": registry_url, "babysitter_router_url": router_url}
    site_settings = settings(launch=launch)
    given = {name: value for name, value in flags.items() if value is not None}
    babysitter_flags = BabysitterFlags(server_flags=passed_on, env=(*env, *more_env), **given)
    temporary_files.ensure_directory(HERE.var)
    if config_file and babysitter_flags.are_absent:
        single_instance.run(Path(config_file), site_settings, os.environ, console())
        return
    document = merged_document(babysitter_flags, _read(config_file, site_settings) if config_file else None)
    with _temporary_toml(document, config_file or PROGRAM) as path:
        single_instance.run(path, site_settings, os.environ, console())


def _server_arguments(flags: dict[str, Any]) -> Iterator[str]:
    """Remove the flags in SERVER_FLAGS from `flags`, and yield them as arguments for the server."""
    for flag, is_switch in SERVER_FLAGS.items():
        value = flags.pop(flag.removeprefix("--").replace("-", "_"))
        if value is not None:
            yield from (flag,) if is_switch else (flag, value)


def _read(config_file: str, site_settings: Settings) -> dict[str, Any]:
    """Return the tables of the TOML file; raise ConfigError if it cannot be read."""
    try:
        return parse_toml(Path(config_file).read_bytes())
    except (OSError, ValueError):
        load_one(Path(config_file), site_settings)  # raises ConfigError with the problem
        raise


@contextlib.contextmanager
def _temporary_toml(document: Mapping[str, Any], source: str) -> Iterator[Path]:
    """Yield the path of a temporary file with these tables. In errors of the block, `source` replaces this path."""
    with tempfile.TemporaryDirectory(prefix="svc-") as directory:
        path = Path(directory) / "instance.toml"
        try:
            path.write_text(toml_text(document), encoding="utf-8")
        except UnicodeEncodeError:
            raise ConfigError(f"{PROGRAM}: a flag is not UTF-8; give its value in UTF-8") from None
        try:
            yield path
        except ConfigError as error:
            raise ConfigError(*(problem.replace(str(path), source) for problem in error.problems)) from None
        except CommandError as error:
            raise CommandError(error.message.replace(str(path), source)) from None


def main() -> None:
    """Run the command. The console script `infini-babysitter` calls this function."""
    arguments = sys.argv[1:]
    prepare(arguments)
    with reported_errors():
        command(arguments, prog_name=PROGRAM)


if __name__ == "__main__":
    main()
