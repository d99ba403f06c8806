"""`svc logs`: the log files of a site's programs, their ends and what is written next."""

import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from svc.base.errors import CommandError, SvcError
from svc.base.printable import RESET
from svc.cli.options import HERE
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.log_file import LogFile
from svc.supervision.client import SupervisordClient
from svc.terminal.output import LogOutput, echo

PAUSE = 0.2  # seconds between two looks at the files
ANEW = 2.0  # seconds between two looks at which programs there are
SUPERVISORD = "supervisord"  # its own log, beside its programs'
FIRST = ("registry", "router")
COLOURS = (36, 33, 32, 35, 34, 31)  # of names, on a terminal


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-f", "--follow", is_flag=True, help="go on with what is written next, until Ctrl-C")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="lines of each to begin with"
)
def logs(names: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show the ends of log files: of all programs, or of those named.

    \b
    NAME is
      registry, router     these programs
      NAME:server          what an instance writes
      NAME:babysitter      its babysitter
      NAME                 both
      supervisord          supervisord's own: starts, exits and restarts of all
      all                  everything, as without a name

    Of several programs, each line begins with its program's name. --follow goes on through
    rotations, restarts and an update, and takes up programs that are new.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us, as it ends others
    chosen = choose(names, files(HERE))
    shown = Shown(LogOutput(), len(chosen) > 1)
    open_logs = {name: LogFile(path) for name, path in chosen.items()}
    for name, log in open_logs.items():
        if not log.path.exists():
            echo(f"{name}: nothing yet: {os.path.relpath(log.path)} is not there", err=True)
        shown.write(name, log.last(lines))
        if not follow and log.rest:
            shown.write(name, [log.rest])
    if follow:
        _follow(names, open_logs, lines, shown)


def files(site: Site) -> dict[str, Path]:
    """The log file of each program that has one: as supervisord runs them, or as its files say where none runs."""
    supervisord = supervisord_process.find(site)
    found = _running(supervisord) if supervisord else _configured(site)
    there = {name: Path(path) for name, path in found if path and not path.startswith("/dev/")}
    order = {name: n for n, name in enumerate(FIRST)}
    ordered = sorted(there, key=lambda name: (order.get(name, len(FIRST)), name.partition(":")[0]))
    return {name: there[name] for name in ordered} | {SUPERVISORD: site.logs.absolute() / "supervisord.log"}


def _running(supervisord: SupervisordClient) -> Iterator[tuple[str, str]]:
    for name, process in reversed(supervisord.processes().items()):  # server before babysitter
        yield name, process.logfile


def _configured(site: Site) -> Iterator[tuple[str, str]]:
    """From the site's files, and from those that `svc up` made under other variables."""
    from supervisor.options import ServerOptions, make_namespec

    for conf in (site.own_supervisord_conf, site.supervisord_conf):
        if not conf.exists():
            continue
        site.make_room()
        options = ServerOptions()
        options.configfile, options.here = str(conf.absolute()), str(conf.absolute().parent)
        try:
            options.read_config(options.configfile)
        except ValueError as error:
            raise CommandError(f"{conf}: supervisord would refuse it: {error}; run svc render") from None
        for group in options.configroot.supervisord.process_group_configs:
            for program in group.process_configs:
                path = program.stdout_logfile
                yield make_namespec(group.name, program.name), path if isinstance(path, str) else ""


def choose(names: Sequence[str], there: Mapping[str, Path]) -> dict[str, Path]:
    """Those that are meant, in the order of the names; raises CommandError for one that means nothing."""
    chosen: dict[str, Path] = {}
    for name in names or ("all",):
        meant = list(_meant(name, there))
        if not meant:
            raise CommandError(f"{name}: no such program here; there are {', '.join(there)}")
        chosen |= {one: there[one] for one in meant}
    return chosen


def _meant(name: str, there: Iterable[str]) -> Iterator[str]:
    group = name.removesuffix("*").removesuffix(":")
    for one in there:
        if one in (name, group) or one.startswith(f"{group}:") or name == "all":
            yield one


class Shown:
    """Writes lines, with their program's name where there are several programs."""

    def __init__(self, output: LogOutput, several: bool) -> None:
        self.output = output
        self.several = several
        self.names: list[str] = []

    def write(self, name: str, lines: Sequence[bytes]) -> None:
        if lines:
            self.output.write(lines, self._prefix(name) if self.several else "")

    def _prefix(self, name: str) -> str:
        if name not in self.names:
            self.names.append(name)
        colour = COLOURS[self.names.index(name) % len(COLOURS)]
        return f"\x1b[{colour}m{name} |{RESET} " if self.output.colours else f"{name} | "


def _follow(names: Sequence[str], logs: dict[str, LogFile], lines: int, shown: Shown) -> None:
    """Until Ctrl-C, or nobody reads any more."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # no event but its end
    looked = time.monotonic()
    while True:
        for name, log in logs.items():
            shown.write(name, log.new())
        if reader.poll(PAUSE * 1000):
            return
        if time.monotonic() - looked > ANEW:
            looked = time.monotonic()
            for name, path in _anew(names).items():
                if name not in logs or logs[name].path != path:
                    logs[name] = LogFile(path)
                    shown.several = shown.several or len(logs) > 1
                    shown.write(name, logs[name].last(lines))


def _anew(names: Sequence[str]) -> dict[str, Path]:
    """Nothing while supervisord is on its way, or the files are being changed."""
    with suppress(SvcError):
        return choose(names, files(HERE))
    return {}
