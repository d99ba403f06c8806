"""Finds, selects and follows the log files of a site's programs."""

import select
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from svc.base import temporary_files
from svc.base.errors import CommandError, SvcError, Unavailable
from svc.base.similar_names import did_you_mean
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.log_file import LogFile
from svc.site.supervisord_process import SupervisordUnusable
from svc.supervision.client import SupervisordClient
from svc.supervision.log_position import is_log_file
from svc.terminal.output import LogPrinter

POLL_INTERVAL_SECONDS = 0.2
RELIST_INTERVAL_SECONDS = 2.0  # pause between two listings of the programs
SUPERVISORD = "supervisord"  # the name that selects supervisord's own log
STDOUT_TEXT = (
    "no log file, because logs/ was not writable at the start: `svc up --foreground` prints these lines; "
    "in a container, run `docker logs CONTAINER` on its host"
)
FIRST_PROGRAMS = ("registry", "router")


def log_files(site: Site) -> dict[str, Path]:
    """Return a dict from the name of each program with a log file to the file's path.

    The paths come from the running supervisord. If it does not answer, they come from supervisord's files.
    """
    paths = {name: Path(path) for name, path in _paths(site) if path and is_log_file(path)}
    order = {name: n for n, name in enumerate(FIRST_PROGRAMS)}
    names = sorted(paths, key=lambda name: (order.get(name, len(FIRST_PROGRAMS)), name.partition(":")[0]))
    return {name: paths[name] for name in names} | {SUPERVISORD: site.logs.absolute() / "supervisord.log"}


def programs_without_files(site: Site) -> list[str]:
    """Return the programs without log files, including supervisord. Only `svc up --foreground` prints their output."""
    names = [name for name, path in _paths(site) if not is_log_file(path)]
    return [*names, SUPERVISORD] if names and not (site.logs / "supervisord.log").exists() else names


def _paths(site: Site) -> Iterable[tuple[str, str]]:
    """Yield the name of each program and the path of its log; the path is "" without a log file."""
    with suppress(SupervisordUnusable, Unavailable):
        if supervisord := supervisord_process.find(site):
            return list(_paths_of_running(supervisord))
    return _paths_in_files(site)


def _paths_of_running(supervisord: SupervisordClient) -> Iterator[tuple[str, str]]:
    for name, process in reversed(supervisord.processes().items()):  # reversed: a server comes before its babysitter
        yield name, process.logfile


def _paths_in_files(site: Site) -> Iterator[tuple[str, str]]:
    """Yield each program and its log file, as written in conf.d and in the files that `svc up` wrote to var/."""
    from supervisor.options import ServerOptions, make_namespec

    for conf in (site.var_supervisord_conf, site.supervisord_conf):
        if not conf.exists():
            continue
        site.make_missing_dirs()
        temporary_files.ensure_directory(site.var)
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


def select_logs(
    names: Sequence[str], paths: Mapping[str, Path], without_files: Collection[str] = ()
) -> dict[str, Path]:
    """Return the log files for `names`, in the order of the names; without names, return all log files.

    Raise CommandError for a name that selects no log file. The programs in `without_files` write to stdout, not to
    files.
    """
    selected: dict[str, Path] = {}
    paths = {name: path for name, path in paths.items() if name not in without_files}
    for name in names or ("all",):
        programs = list(_programs_of(name, paths))
        if not programs and any(_programs_of(name, without_files)):
            raise CommandError(f"{name}: {STDOUT_TEXT}")
        if not programs:
            raise CommandError(f"{name}: no such program here; {_cure(name, [*paths, *without_files])}")
        selected |= {program: paths[program] for program in programs}
    return selected


def _cure(name: str, programs: Iterable[str]) -> str:
    """Return the end of the error for an unknown `name`: ask for the most similar name, or else list the programs."""
    programs = list(programs)
    known = [*programs, *dict.fromkeys(program.partition(":")[0] for program in programs)]
    return did_you_mean(name, known, f"there are {', '.join(programs)}")


def _programs_of(name: str, programs: Iterable[str]) -> Iterator[str]:
    group = name.removesuffix("*").removesuffix(":")
    for program in programs:
        if program in (name, group) or program.startswith(f"{group}:") or name == "all":
            yield program


def follow_logs(
    site: Site, names: Sequence[str], logs: dict[str, LogFile], line_count: int, printer: LogPrinter
) -> None:
    """Print new lines of the logs until Ctrl-C or until stdout is closed.

    If a program is added during this call, first print the last `line_count` lines of its log.
    """
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # 0: no events are requested, but poll reports a closed stdout all the same
    listed = time.monotonic()
    while True:
        for name, log in logs.items():
            printer.write(name, log.read_new())
        if reader.poll(POLL_INTERVAL_SECONDS * 1000):
            return
        if time.monotonic() - listed > RELIST_INTERVAL_SECONDS:
            listed = time.monotonic()
            for name, path in _select_again(site, names).items():
                if name not in logs or logs[name].path != path:
                    logs[name] = LogFile(path)
                    printer.prefixed = printer.prefixed or len(logs) > 1
                    printer.write(name, logs[name].read_last(line_count))


def _select_again(site: Site, names: Sequence[str]) -> dict[str, Path]:
    """Return the selected log files, or {} if they cannot be listed now, for example because supervisord ends."""
    with suppress(SvcError):
        return select_logs(names, log_files(site))
    return {}
