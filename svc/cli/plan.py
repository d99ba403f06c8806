"""`svc plan`: show what `svc apply` would do, for a review. It changes nothing."""

import dataclasses
import os
import sys
from collections.abc import Sequence

import click

from svc.base.address import split_urls
from svc.cli.options import HERE, console, settings, tomls_argument
from svc.cli.registry_options import Access, registry_options
from svc.client.registry import RegistryClient
from svc.rollout.plan import plan
from svc.rollout.plan_report import lines
from svc.site.access import router_url
from svc.terminal.output import echo_json

EXIT_CODE_CHANGES = 2


@click.command()
@tomls_argument
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
@registry_options
def command(access: Access, tomls: tuple[str, ...], as_json: bool) -> None:
    """Show what `svc apply` would do to what runs here.

    It changes nothing. It renders the files in memory, as `svc render [TOML...]` would write them (on a
    site of `svc up --foreground`, as in a container: as `svc up` would write them to var/conf.d), and
    compares each program with the configuration that supervisord runs: its command argument by
    argument, its environment variable by variable. What looks like a secret is shown as ***. If only
    the babysitter is concerned (its own program, or keys of the TOML that only it reads), the server
    runs on. The registry and the router report which models would have no healthy instance on any host
    meanwhile, because `svc apply` refuses that.

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
        type          instance, registry, router, or other (a group of a file that svc did not render)
        change        added, removed or changed
        effect        a text on what happens to it
        edits         changes of the group itself (such as the router's socket), as below
        programs      the programs that start, stop or restart, a list of objects:
          name          as supervisorctl writes it
          effect        starts, stops or restarts
          edits         a list of objects: key (supervisord's, or environment.NAME), old, new (null
                        for none); a command has an object for each argument that differs
      without_instance  null when the registry does not answer, else a list of objects:
        model
        instance      the last healthy instance that serves the model
        forever       true when the instance is removed, false when it restarts
      registries   unless the instances use this site's registry alone, a list of objects:
        instances     their names
        urls          the registries, in the order in which they are tried
        setting       the setting under [launch] that names them; empty: the TOML, or the default
        unused        the registries of the TOML that this setting replaces
      foreign      files of conf.d that svc did not render, and that run as well
      notes        a list of texts
    """

    def connect() -> tuple[RegistryClient, Sequence[str]]:
        return access.client(read=True), split_urls(router_url(access.settings()))

    report = plan(HERE, settings(environ=False, check_rules=True), os.environ, tomls, connect)
    if as_json:
        echo_json(dataclasses.asdict(report), indent=2)
    else:
        out = console()
        for line, style in lines(report):
            out.print_line(line, style=style)
    sys.exit(EXIT_CODE_CHANGES if report.changes else 0)
