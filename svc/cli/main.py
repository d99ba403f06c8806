"""The command table of `svc`: each command parses, calls one function and returns.

Imports of what a command does stand inside it, so that each starts with no more than it needs.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from svc import settings as s
from svc.base.errors import CommandError
from svc.cli.options import HERE, Commands, console, flags_of, settings
from svc.terminal.output import echo, echo_block, echo_json

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
      svc doctor     what is wrong, why, and what cures it
      svc down       stop everything
    supervisorctl start, stop and restart work as ever.
    """


@svc.command()
@tomls_argument
def check(tomls: tuple[str, ...]) -> None:
    """Validate the TOML files: every error of every file, and what only shows across files."""
    from svc.config.instance.load import load

    told = settings()
    configs = load(HERE.tomls(tomls, told.launch.babysitter_configs), told)
    echo(f"{len(configs)} instance{'s' if len(configs) != 1 else ''}: all right")


@svc.command()
@tomls_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), help="the directory to write to  [default: conf.d]")
@click.option("--check", "only_check", is_flag=True, help="write nothing; exit with 1 if what is there is stale")
@click.option("--diff", is_flag=True, help="show how what is there differs, or changes")
@click.option("--systemd", "output", flag_value="systemd", help="write systemd/ instead: a unit that runs the site")
@click.option("--logrotate", "output", flag_value="logrotate", help="write logrotate/ instead: see [logs]")
@click.option("--nginx", "output", flag_value="nginx", help="write nginx/ instead: TLS in front of the router")
@click.option("--from-registry", is_flag=True, help="with --nginx: its upstream, from what is healthy now")
@click.option("--registry-url", metavar="URL", help="with --from-registry: where it is  [REGISTRY_URL]")
@click.option("--token-file", metavar="FILE", help="with --from-registry: its token  [REGISTRY_READ_TOKEN_FILE]")
def render(
    tomls: tuple[str, ...],
    out: Path | None,
    only_check: bool,
    diff: bool,
    output: str | None,
    from_registry: bool,
    registry_url: str | None,
    token_file: str | None,
) -> None:
    """Write supervisord's files from the TOML files and config/svc.toml, never from the environment.

    TOML files that are given are added or refreshed, and nothing is removed; without any, all of
    config/ is rendered, and files whose source is gone are removed. Files that are not ours stay.

    With --systemd, --logrotate or --nginx, files for these instead, from the sections [systemd], [logs]
    and [nginx] of config/svc.toml.
    """
    from svc.render.generate import plan_site

    told = settings(environ=False)
    sources = HERE.tomls(tomls, told.launch.babysitter_configs)
    if from_registry or registry_url or token_file:
        from svc.cli.nginx_instances import plan_listed

        if output != "nginx" or not from_registry or tomls:
            raise click.UsageError("--from-registry goes with --nginx, and without TOML files")
        change = plan_listed(HERE, told, registry_url, token_file, out)
    elif output:
        from svc.render.outputs import plan_output

        change = plan_output(HERE, told, output, sources, out)
    else:
        change = plan_site(HERE, told, sources, out, partial=bool(tomls))
    if diff:
        echo_block(change.diff())
    if not only_check:
        if not (out or output):
            HERE.make_room()
        change.write()
    for what, paths in (("new", change.added), ("changed", change.changed), ("gone", change.removed)):
        for path in paths:
            echo(f"{path}: {what}")
    if only_check and change.stale:
        command = f"svc render --{output}" if output else "svc render"
        raise CommandError(f"{out or output or HERE.conf_d}: stale; run `{command}`")


@svc.command()
@tomls_argument
@click.option("--only", multiple=True, type=click.Choice(s.COMPONENTS), help="only this, beside what else runs")
@click.option("--timeout", type=float, default=600, show_default=True, help="seconds to wait until all is ready")
@click.option("--foreground", is_flag=True, help="stay: all logs to stdout, and SIGTERM ends the site (for containers)")
def up(tomls: tuple[str, ...], only: tuple[str, ...], timeout: float, foreground: bool) -> None:
    """Start the site, or bring a running one up to date, and wait until every part answers.

    Renders first. Where the environment changes what is rendered, conf.d is left alone and
    var/supervisord.conf runs instead. Ctrl-C stops what this call has started.

    With --foreground it stays until SIGTERM or Ctrl-C, which stops everything in order as svc down
    does. What the programs write goes to stdout as well as to logs/, or to stdout alone where logs/
    cannot be written. An instance that fails is started again; a registry or a router that cannot
    start ends it with 1.
    """
    from svc.site import foreground as staying
    from svc.site import startup as work

    if foreground:
        staying.run(HERE, work.Asked(tomls, only, os.environ), timeout, console())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    work.up(HERE, work.Asked(tomls, only, os.environ), timeout, console())


@svc.command()
@click.option("--only", type=click.Choice(s.COMPONENTS), help="only this; the rest runs on")
@click.option("--port", type=int, help="with --only babysitter: the instance at this port, or whose babysitter is")
def down(only: str | None, port: int | None) -> None:
    """Stop everything in order: the router once its requests are done, the babysitters, the rest, supervisord."""
    from svc.site import shutdown as work

    if port is not None and only != "babysitter":
        raise click.UsageError("--port goes with --only babysitter")
    if only:
        work.down_only(HERE, console(), only, port)
    else:
        work.down(HERE, console())


@svc.command()
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
@click.option("--watch", is_flag=True, help="go on: in place on a terminal, else a table (or a line of JSON) a change")
def status(as_json: bool, watch: bool) -> None:
    """Show every program: state, pid, time up, restarts (of how many allowed), health, models, address.

    Health is what the registry says of it, and for an instance also whether the router uses it.
    Exits with 0 when all is well, with 1 when anything is not, which may be an instance of another
    machine that this one's router should use. --watch goes on until Ctrl-C.

    \b
    --json prints one object:
      ok           true when all is well
      supervisord  its pid, null when it does not run
      programs     a list of objects:
        name          as supervisorctl writes it: registry, router, NAME:server, NAME:babysitter
        state         supervisord's: RUNNING BACKOFF FATAL ...; "-" when it does not have it
        pid, uptime   null when it does not run; uptime in seconds
        restarts      how often it was started again by itself; max_restarts: how often it may be
        health        healthy, or what is not: starting, failed, unhealthy, expired, unrouted,
                      drained ... (docs/STATUS.md has them all); empty when nobody knows
        models        of a server: those it serves
        address       host:port
        ok            true when this program is well
        reason        why it was last restarted, empty when it was not
      problems     a list of texts, empty when all is well
    """
    from svc.site import observe
    from svc.site.status import report
    from svc.terminal import table
    from svc.terminal.screen import width_of

    told = settings().registry
    token_file, out = told.read_token_file or told.token_file, console()
    if watch:
        from svc.cli import status_watch

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the terminal is left in order
        status_watch.follow(HERE, token_file, out, as_json)
    found = report(observe.see(HERE, token_file))
    if as_json:
        echo_json(dataclasses.asdict(found), indent=2)
    else:
        for line in table.lines(found, width_of(out)):
            out.print_line(line)
    sys.exit(0 if found.ok else 1)


@svc.command()
@flags_of(s.RegistrySettings)
def registry(**flags: Any) -> None:
    """Run the registry in the foreground."""
    from svc.base import logging
    from svc.registry.serve import serve

    logging.configure()
    serve(settings(registry=flags).registry)


@svc.command()
@click.option("--fd", type=int, help="listen on this open socket instead (supervisord's, 0)")
@flags_of(s.RouterSettings, port=["--router-port"])
def router(fd: int | None, **flags: Any) -> None:
    """Run the router in the foreground: the one OpenAI-compatible address.

    It needs a registry URL or a file of static services, or both.
    """
    from svc.base import logging
    from svc.router.serve import serve

    logging.configure()
    serve(settings(router=flags).router, fd)


@svc.command()
@config_file_option
@click.option("--host", help="the address to register with  [BABYSITTER_HOST]")
@click.option("--registry-url", help="the registry, instead of the file's  [REGISTRY_URL]")
@click.option("--router-url", help="the router, instead of the file's  [ROUTER_URL]")
def babysitter(config_file: str, host: str | None, registry_url: str | None, router_url: str | None) -> None:
    """Run the sidecar alone, for an instance that something else runs."""
    from svc.babysitter.serve import serve
    from svc.base import logging
    from svc.config.instance.load import load_one

    logging.configure()
    told = settings(launch={"babysitter_host": host, "registry_url": registry_url, "router_url": router_url})
    serve(load_one(Path(config_file), told))


@svc.command()
@config_file_option
def run(config_file: str) -> None:
    """Run an instance and its babysitter together, in the foreground, for one file and no site.

    SIGTERM and Ctrl-C end both. Exits with 1 when the instance is given up after max_restarts.
    """
    from svc.cli import run as work

    work.run(Path(config_file), settings(), os.environ, console())


@svc.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
def launch(words: tuple[str, ...]) -> None:
    """Become COMMAND: what stands in front of every program in conf.d. See `svc launch --help`."""


svc.elsewhere |= {
    "mock": "svc.cli.mock:command",
    "llama": "svc.cli.llama:command",
    "keys": "svc.cli.keys:command",
    "doctor": "svc.cli.doctor:command",
    "services": "svc.cli.services:command",
    "drain": "svc.cli.drain:drain",
    "undrain": "svc.cli.drain:undrain",
    "remove": "svc.cli.drain:remove",
    "apply": "svc.cli.apply:command",
    "rollout": "svc.cli.rollout:command",
    "plan": "svc.cli.plan:command",
    "engine": "svc.cli.engine:command",
    "events": "svc.cli.events:command",
    "health": "svc.cli.health:health",
    "logs": "svc.cli.logs:logs",
    "top": "svc.cli.top:command",
}
