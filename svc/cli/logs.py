"""`svc logs`: show the last lines of the programs' log files, and follow new lines."""

import os
import signal

import click

from svc.cli.name_completers import programs
from svc.cli.options import HERE
from svc.site.log_file import LogFile
from svc.site.log_files import follow_logs, log_files, programs_without_files, select_logs
from svc.terminal.output import LogOutput, LogPrinter, echo


@click.command("logs")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=programs)
@click.option("-f", "--follow", is_flag=True, help="go on with new lines, until Ctrl-C")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="the last lines of each log to begin with",
)
def command(names: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show the last lines of log files, and follow them.

    \b
    NAME is
      registry, router     these programs
      NAME:server          an instance
      NAME:babysitter      its babysitter
      NAME                 both
      supervisord          supervisord itself: starts, exits and restarts of all programs
      all                  everything, as without a name

    With several programs, each line begins with the name of its program. --follow continues through
    rotations, restarts and an update, and adds programs that are new.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end this process if its pipe is closed, as by `| head`
    selected = select_logs(names, log_files(HERE), programs_without_files(HERE))
    printer = LogPrinter(LogOutput(), len(selected) > 1)
    logs = {name: LogFile(path) for name, path in selected.items()}
    for name, log in logs.items():
        if not log.path.exists():
            echo(f"{name}: nothing yet: {os.path.relpath(log.path)} is not there", err=True)
        printer.write(name, log.read_last(lines))
        if not follow and log.rest:
            printer.write(name, [log.rest])
    if follow:
        follow_logs(HERE, names, logs, lines, printer)
