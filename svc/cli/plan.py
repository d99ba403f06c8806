"""`svc plan`: what `svc apply` would do, for a review. Changes nothing."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import click

from svc.base.errors import SvcError
from svc.cli.access import Access, registry_options
from svc.cli.options import HERE, console, settings
from svc.render.files import Change
from svc.rollout.availability import Loss, losses
from svc.rollout.proposal import Proposal, propose
from svc.rollout.report import FileRow, Report, lines, report
from svc.site.access import explained
from svc.terminal.output import echo_json

CHANGES = 2  # the exit code


@click.command()
@click.argument("tomls", nargs=-1, metavar="[TOML...]")
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
@registry_options
def command(access: Access, tomls: tuple[str, ...], as_json: bool) -> None:
    """Show what `svc apply` would do to what runs here, and change nothing.

    It renders in memory, as `svc render [TOML...]` would write it, and compares program by program
    with the configuration that supervisord runs by: a command word by word, the environment
    variable by variable. What looks like a secret is shown as ***. Where only the babysitter is
    concerned (its own program, or keys of the TOML that only it reads), the server runs on.
    The registry is asked which models would have no healthy instance on any host meanwhile.

    Exits with 0 when there is nothing to do, with 2 when there are changes, with 1 on an error.

    \b
    --json prints one object:
      changes      true when there is anything to do
      supervisord  its pid, null when it does not run: then everything would be started
      files        what would be written, a list of objects:
        path
        change        new, changed or gone
      parts        what would change of what runs, a list of objects:
        name
        type          instance, registry, router, or other (a group of a file that is not svc's)
        change        added, removed or changed
        effect        what happens to it, in words
        edits         of the group itself (such as the router's socket), as below
        programs      those that do not just run on, a list of objects:
          name          as supervisorctl writes it
          effect        starts, stops or restarts
          edits         a list of objects: key (a key of supervisord's, or environment.NAME), old, new;
                        null where there is none; of a command each difference by itself
      without_instance  null when the registry does not tell, else a list of objects:
        model
        instance      the last healthy one that serves it
        forever       true when that one is removed, false when it restarts
      foreign      files of conf.d that svc did not make, and that run as well
      notes        a list of texts
    """
    proposal = propose(HERE, settings(environ=False), tomls)
    told = report_of(proposal, access)
    if as_json:
        echo_json(dataclasses.asdict(told), indent=2)
    else:
        out = console()
        for line, style in lines(told):
            out.print_line(line, style=style)
    sys.exit(CHANGES if told.changes else 0)


def report_of(proposal: Proposal, access: Access) -> Report:
    supervisord, notes = proposal.supervisord, list(_notes(proposal))
    lost: list[Loss] | None = None
    try:
        lost = _losses(proposal, access)
    except SvcError as error:
        notes.append(error.message)
    states = {name: process.state for name, process in supervisord.processes().items()} if supervisord else {}
    pid = supervisord.pid() if supervisord else None
    return report(proposal.changes, _files(proposal.files), pid, states, lost, proposal.foreign, notes)


def _losses(proposal: Proposal, access: Access) -> list[Loss]:
    """Nobody is asked where no instance goes."""
    if not any(change.interrupts for change in proposal.changes):
        return []
    client = access.client(read=True)
    with explained("tell which models have no instance meanwhile", client):
        return losses(proposal.changes, client.services())


def _files(change: Change) -> list[FileRow]:
    kinds: Any = (("new", change.added), ("changed", change.changed), ("gone", change.removed))
    return [FileRow(str(path), kind) for kind, paths in kinds for path in paths]


def _notes(proposal: Proposal) -> Iterator[str]:
    if proposal.supervisord and any(path.name == HERE.supervisord_conf.name for path in proposal.files.changed):
        yield (
            f"{HERE.supervisord_conf}: supervisord itself reads it when it starts: "
            "what changes in it counts after `svc down` and `svc up`"
        )
    for name in proposal.silent:
        yield f"{name}: its babysitter does not answer, so it is not known whether it has read its TOML as it is now"
