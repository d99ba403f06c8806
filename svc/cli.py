"""The command table of `svc`: each command parses, calls one function and returns.

Imports of what a command does stand inside it, so that each starts with no more than it needs.
"""

from pathlib import Path
from typing import Any

import click

from svc import settings as s
from svc.options import HERE, Commands, flags_of, settings

tomls_argument = click.argument("tomls", nargs=-1, metavar="[TOML...]")
config_file_option = click.option("--config-file", required=True, metavar="TOML", help="the instance's babysitter TOML")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="infinilm-svc")
def svc() -> None:
    """The control plane around your LLM servers: registry, router, babysitters, supervisord.

    \b
    A site is a directory with config/*.toml. Work on the current directory:
      svc check      are the files right?
      svc render     write conf.d/ from them
      svc up         start everything and wait until it answers
      svc status     what is there, and how it is
      svc down       stop everything
    supervisorctl start, stop and restart work as ever.
    """


@svc.command()
@tomls_argument
def check(tomls: tuple[str, ...]) -> None:
    """Validate the TOML files: every error of every file, and what only shows across files."""
    from svc.spec.load import load

    told = settings()
    specs = load(HERE.tomls(tomls, told.launch.babysitter_configs), told)
    click.echo(f"{len(specs)} instance{'s' if len(specs) != 1 else ''}: all right")


@svc.command()
@flags_of(s.RegistrySettings)
def registry(**flags: Any) -> None:
    """Run the registry in the foreground."""
    from svc import log
    from svc.registry.serve import serve

    log.configure()
    serve(settings(registry=flags).registry)


@svc.command()
@click.option("--fd", type=int, help="listen on this open socket instead (supervisord's, 0)")
@flags_of(s.RouterSettings, port=["--router-port"])
def router(fd: int | None, **flags: Any) -> None:
    """Run the router in the foreground: the one OpenAI-compatible address.

    It needs a registry URL or a file of static services, or both.
    """
    from svc import log
    from svc.router.serve import serve

    log.configure()
    serve(settings(router=flags).router, fd)


@svc.command()
@config_file_option
@click.option("--host", help="the address to register with  [BABYSITTER_HOST]")
@click.option("--registry-url", help="the registry, instead of the file's  [REGISTRY_URL]")
@click.option("--router-url", help="the router, instead of the file's  [ROUTER_URL]")
def babysitter(config_file: str, host: str | None, registry_url: str | None, router_url: str | None) -> None:
    """Run the sidecar alone, for an instance that something else runs."""
    from svc import log
    from svc.babysitter.run import run
    from svc.spec.load import load_one

    log.configure()
    told = settings(launch={"babysitter_host": host, "registry_url": registry_url, "router_url": router_url})
    run(load_one(Path(config_file), told))


@svc.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
def launch(words: tuple[str, ...]) -> None:
    """Become COMMAND: what stands in front of every program in conf.d. See `svc launch --help`."""


svc.elsewhere |= {"mock": "svc.mock:command", "llama": "svc.llama:command"}
