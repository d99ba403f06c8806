"""`svc doctor`: show what is wrong with a site, the evidence, and the command that cures it."""

import contextlib
import os
import sys
from collections.abc import Iterator

import click
from rich.text import Text

from svc.base.own_commands import command_name
from svc.cli.name_completers import models
from svc.cli.options import HERE, console, supervisorctl
from svc.doctor import diagnosis
from svc.doctor.checks import all_checks
from svc.doctor.collect.collector import Progress, collect
from svc.doctor.findings import ordered
from svc.terminal.output import echo_json


@click.command("doctor")
@click.option("--model", default="", metavar="NAME", help="also say why this model is not found", shell_complete=models)
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
def command(model: str, as_json: bool) -> None:
    """Show what is wrong with this site, why, and what cures it.

    It changes nothing, and shows a command for each cure. It looks at the site's files, supervisord,
    ports, tokens, disks, the registry, the router, every babysitter and instance, GPUs, clocks and
    versions. A consequence is shown below its cause, so begin at the top, and run the command again.
    Exits with 0 without problems (there may be warnings), and with 1 if there are problems.

    \b
    --json prints one object:
      ok            true when there are no problems
      problems      the number of problems
      warnings      the number of warnings
      findings      a list of objects; the one to cure first is at the beginning:
        key           the subject: registry.silent, program.NAME:server, model.NAME ...
        severity      problem or warning
        what          what is wrong
        why           the evidence
        first         what a person has to do before the command; empty for nothing
        fix           the command that cures it, or shows more
        consequences  a list of such objects: the consequences of this finding
      well          a list of texts: the subjects without findings
    """
    with _progress(quiet=as_json) as progress:
        facts = collect(HERE, os.environ, model, progress)
    nodes, healthy = ordered(all_checks.findings(facts)), all_checks.healthy_subjects(facts)
    through_sudo = bool(facts.supervisord.socket_owner or facts.other_owner)
    svc, ctl = command_name(through_sudo), supervisorctl()
    if as_json:
        echo_json(diagnosis.as_json(nodes, healthy, svc, ctl), indent=2)
    else:
        out = console()
        for line in diagnosis.lines(nodes, healthy, svc, ctl):
            out.print_line(line)
        out.print_line(diagnosis.summary(nodes), style="bold")
    sys.exit(1 if any(node.severity == "problem" for node in nodes) else 0)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """Yield a function that shows on stderr which facts are still missing.

    Yield None if `quiet` is set, or if stderr is not a terminal.
    """
    from svc.terminal.console import Console

    err = Console(stderr=True)
    if quiet or not err.is_terminal:
        yield None
        return
    with err.status("looking") as status:
        yield lambda rest: status.update(Text(f"looking at {', '.join(rest[:4])}{' ...' if len(rest) > 4 else ''}"))
