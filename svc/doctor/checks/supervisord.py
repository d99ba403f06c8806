"""Checks whether supervisord runs, answers and has svc's extension, and for processes of an earlier supervisord."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import START_SECONDS

MIN_SUPERVISOR_VERSION = (4, 3)
MAX_COMMAND_WIDTH = 60
# `svc down` does not stop a supervisord without svc's extension.
REPLACE = 'supervisorctl -s "unix://$PWD/var/supervisor.sock" shutdown && sleep 5 && svc up'


def check_stopped(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if a signal has stopped supervisord.

    This check comes first, because a stopped supervisord hides all other problems.
    """
    if pid := facts.supervisord.stopped_pid:
        yield Finding(
            "supervisord.stopped",
            PROBLEM,
            f"supervisord: pid {pid} does not answer: {facts.supervisord.problem}",
            "a signal (SIGSTOP) or a debugger has stopped it; its programs run on, but nothing restarts them",
            fix=f"{facts.sudo if facts.other_owner else ''}kill -CONT {pid}",
        )


def check(facts: Facts) -> Iterator[Finding]:
    supervisord = facts.supervisord
    stray = supervisord.pid_without_socket
    if supervisord.stopped_pid:
        return  # `check_stopped` has a finding for it
    if supervisord.socket_owner:
        yield Finding(
            "supervisord.denied",
            PROBLEM,
            "this user may not use supervisord's socket",
            supervisord.problem,
            fix=f"sudo -u {supervisord.socket_owner} svc doctor",
        )
    elif supervisord.ending_pid:
        yield Finding(
            "supervisord.ending",
            PROBLEM,
            f"the site is stopping: supervisord (pid {supervisord.ending_pid}) is shutting down",
            "another command or a signal ends it, with all its programs",
            first_step="wait some seconds, then",
            fix="svc doctor",
        )
    elif supervisord.problem:
        fix = f"kill {stray} && sleep 5 && svc down && svc up" if stray else "svc down && svc up"
        yield Finding(
            "supervisord.mute",
            PROBLEM,
            "supervisord does not answer as it should",
            supervisord.problem,
            fix=fix,
            first_step="wait a minute, because the machine may be busy; if it still does not answer, end it"
            if stray and supervisord.is_late
            else "",
            may_pass=supervisord.is_late and (supervisord.age_seconds or START_SECONDS) < START_SECONDS,
        )
    elif stray:
        yield Finding(
            "supervisord.lost",
            PROBLEM,
            f"supervisord runs (pid {stray}), but its socket is gone",
            "var/supervisor.sock is missing: neither svc nor supervisorctl can reach it",
            fix="svc down && svc up",
        )
    elif supervisord.pid is None and facts.files.present:
        yield _down(facts)
    if supervisord.pid is not None and not supervisord.has_extension:
        yield Finding(
            "supervisord.foreign",
            PROBLEM,
            "the supervisord that runs here is not svc's: it lacks [rpcinterface:svc]",
            f"supervisor {supervisord.version}" + (f" of {supervisord.python}" if supervisord.python else ""),
            first_step="stop the unit or script that starts it",
            fix=REPLACE,
        )
    if facts.unused_unit:
        yield Finding(
            "supervisord.outside",
            WARNING,
            f"supervisord runs outside of the site's systemd unit, {facts.unused_unit.name}",
            "`svc up` or a script has started it: systemctl cannot stop it, and starts nothing while it runs",
            fix=f"svc down && {facts.unused_unit.command('start')}",
        )
    numbers = [int(part) for part in supervisord.version.split(".")[:2] if part.isdigit()]
    if supervisord.pid is not None and numbers and tuple(numbers) < MIN_SUPERVISOR_VERSION:
        yield Finding(
            "supervisord.old",
            PROBLEM,
            f"supervisor {supervisord.version} runs; svc needs 4.3",
            f"it is of {supervisord.python}" if supervisord.python else "it was started before an upgrade",
            fix="svc down && svc up" if supervisord.has_extension else REPLACE,
            causes=("supervisord.foreign",),
        )


def _down(facts: Facts) -> Finding:
    names = ", ".join(component.name for component in facts.components)
    causes = ["files.wrong.*", "disk.*", "leftovers"]
    causes += [f"port.{port}" for component in facts.components for port in component.ports]
    return Finding(
        "supervisord.down",
        PROBLEM,
        f"nothing runs here{f': no {names}' if names else ''}",
        "no supervisord answers on var/supervisor.sock"
        + (f"; its log ends: {facts.supervisord.last_error}" if facts.supervisord.last_error else ""),
        fix="svc up",
        causes=causes,
    )


def check_leftovers(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for processes of this site that were started by a supervisord that has ended."""
    if not facts.leftovers or facts.supervisord.problem or facts.supervisord.pid_without_socket:
        return
    pids = [str(leftover.pid) for leftover in facts.leftovers]
    shown = "; ".join(f"{process.command[:MAX_COMMAND_WIDTH]} (pid {process.pid})" for process in facts.leftovers[:3])
    yield Finding(
        "leftovers",
        PROBLEM,
        f"{len(pids)} process{'es' if len(pids) > 1 else ''} of an earlier supervisord still run",
        f"{shown}: they may hold ports and GPUs",
        fix="svc down && svc up" if facts.supervisord.pid is None else f"kill -9 {' '.join(pids)}",
    )
