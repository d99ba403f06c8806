"""The command table of `svc`: each command parses, calls one function and returns.

Imports stand inside the commands: `svc launch` runs before every program and
must start at once, and gevent has to patch before anything else is loaded.
"""

import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """The console script."""
    if sys.argv[1:2] == ["launch"]:  # in front of every program: no click, no delay
        from svc.supervision import launch

        sys.exit(launch.main(sys.argv[2:]))
    if sys.argv[1:2] and sys.argv[1] in PATCHED:
        from gevent import monkey

        monkey.patch_all()
    build()(prog_name="svc")


PATCHED = ("babysitter", "mock")
ELSEWHERE = {"mock": "svc.mock:command", "llama": "svc.llama:command"}


def build() -> Any:
    import click

    from svc import settings as s
    from svc.errors import ConfigError, SvcError
    from svc.site import Site

    class Commands(click.Group):
        """Tells our failures in one line each; loads some commands only when they are called."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return sorted([*super().list_commands(ctx), *ELSEWHERE])

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name in ELSEWHERE:
                module, attribute = ELSEWHERE[name].split(":")
                return getattr(importlib.import_module(module), attribute)
            return super().get_command(ctx, name)

        def invoke(self, ctx: click.Context) -> Any:
            try:
                return super().invoke(ctx)
            except SvcError as error:
                lines = error.problems if isinstance(error, ConfigError) else (error.message,)
                for line in lines:
                    click.echo(f"svc: {line}", err=True)
                sys.exit(1)

    def options(cls: type, **more: list[str]) -> Callable[[Any], Any]:
        """A flag for every setting of a section; one that is not given is None."""

        def add(function: Any) -> Any:
            for field in reversed(dataclasses.fields(cls)):
                names = ["--" + field.name.replace("_", "-"), *more.get(field.name, [])]
                text = field.metadata["help"]
                if field.default not in ("", False):
                    text += (
                        f"  [{field.metadata['env'] or 'default'}: {field.default:g}]"
                        if isinstance(field.default, (int, float))
                        else f"  [{field.metadata['env'] or 'default'}: {field.default}]"
                    )
                elif field.metadata["env"]:
                    text += f"  [{field.metadata['env']}]"
                kind: Any = {int: int, float: float}.get(field.type, str)
                if field.metadata["choices"]:
                    kind = click.Choice(field.metadata["choices"])
                if field.type is bool:
                    function = click.option(*names, field.name, is_flag=True, default=None, help=text)(function)
                else:
                    function = click.option(*names, field.name, type=kind, default=None, help=text)(function)
            return function

        return add

    def settings(environ: bool = True, **flags: dict[str, Any]) -> s.Settings:
        import os

        return s.load(Site(Path()).svc_toml, os.environ if environ else None, flags)

    tomls = click.argument("tomls", nargs=-1, metavar="[TOML...]")
    config_file = click.option("--config-file", required=True, metavar="TOML", help="the instance's babysitter TOML")

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
    @tomls
    def check(tomls: tuple[str, ...]) -> None:
        """Validate the TOML files: every error of every file, and what only shows across files."""
        from svc.spec.load import load

        site = Site(Path())
        told = settings()
        specs = load(site.tomls(tomls, told.launch.babysitter_configs), told)
        click.echo(f"{len(specs)} instance{'s' if len(specs) != 1 else ''}: all right")

    @svc.command()
    @options(s.RegistrySettings)
    def registry(**flags: Any) -> None:
        """Run the registry in the foreground."""
        from svc import log
        from svc.registry.serve import serve

        log.configure()
        serve(settings(registry=flags).registry)

    @svc.command()
    @click.option("--fd", type=int, help="listen on this open socket instead (supervisord's, 0)")
    @options(s.RouterSettings, port=["--router-port"])
    def router(fd: int | None, **flags: Any) -> None:
        """Run the router in the foreground: the one OpenAI-compatible address.

        It needs a registry URL or a file of static services, or both.
        """
        from svc import log
        from svc.router.serve import serve

        log.configure()
        serve(settings(router=flags).router, fd)

    @svc.command()
    @config_file
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

    return svc


if __name__ == "__main__":
    main()
