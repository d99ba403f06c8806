"""`svc doctor`: what is wrong, why, and the command that cures it."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.text import Text

from svc.cli.options import HERE, console
from svc.config.site import Site
from svc.doctor import report
from svc.doctor.checks import table
from svc.doctor.collect.collector import look
from svc.doctor.findings import ordered
from svc.site.startup import command_name
from svc.terminal.output import echo_json

Begun = Callable[[list[str]], object]


@click.command("doctor")
@click.option("--model", default="", metavar="NAME", help="also say why this model is not found")
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
def command(model: str, as_json: bool) -> None:
    """Say what is wrong with the site here, why, and the command that cures it. It changes nothing.

    Looks at the site's files, supervisord, ports, tokens, disks, the registry, the router, every
    babysitter and instance, GPUs, clocks and versions. What comes of something else stands below it:
    begin at the top, and ask again. Exits with 0 when there are no problems (warnings there may be),
    with 1 when there are.

    \b
    --json prints one object:
      ok            true when there are no problems
      problems      how many there are; warnings: how many of those
      findings      a list of objects, what to do first at the beginning:
        key           what it is about: registry.silent, program.NAME:server, model.NAME ...
        severity      problem or warning
        what          what is wrong; why: how that is known
        first         what a person has to do before the command, "" where nothing
        fix           the command that cures it, or shows more
        consequences  a list of the same objects: what comes of it
      well          a list of texts: the subjects that nothing is wrong with
    """
    with _shown(as_json) as begun:
        facts = look(HERE, os.environ, model, begun)
    nodes, well = ordered(table.findings(facts)), table.well(facts)
    svc, ctl = command_name(), supervisorctl(HERE)
    if as_json:
        echo_json(report.as_json(nodes, well, svc, ctl), indent=2)
    else:
        out = console()
        for line in report.lines(nodes, well, svc, ctl):
            out.print_line(line)
        out.print_line(report.summary(nodes), style="bold")
    sys.exit(1 if any(node.severity == "problem" for node in nodes) else 0)


def supervisorctl(site: Site) -> str:
    """How it is called from here, and with which configuration."""
    svc = Path(command_name())
    program = "supervisorctl" if svc.name == str(svc) else str(svc.with_name("supervisorctl"))
    if not site.supervisord_conf.exists() and site.own_supervisord_conf.exists():
        program += f" -c {shlex.quote(str(site.own_supervisord_conf))}"
    return program


@contextlib.contextmanager
def _shown(quiet: bool) -> Iterator[Begun | None]:
    """On a terminal: who is still being looked at, from the first second on."""
    from svc.terminal.console import Console

    err = Console(stderr=True)
    if quiet or not err.is_terminal:
        yield None
        return
    with err.status("looking") as status:
        yield lambda left: status.update(Text(f"looking at {', '.join(left[:4])}{' ...' if len(left) > 4 else ''}"))
