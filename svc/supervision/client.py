"""A client of supervisord, which offers supervisorctl's commands as methods."""

import dataclasses
import json
import xml.parsers.expat
from typing import Any
from xmlrpc.client import Fault

from svc.base.errors import CommandError
from svc.supervision.log_position import LogPosition
from svc.supervision.program_config import SupervisordConfig, parse_groups
from svc.supervision.xmlrpc_channel import (
    ALREADY_STARTED,
    MEANINGS,
    NOT_RUNNING,
    SHUTDOWN_STATE,
    SUCCESS,
    UNKNOWN_METHOD,
    XmlRpcChannel,
)

TIMEOUT_SECONDS = 10.0
WAITING_TIMEOUT_SECONDS = 600.0  # for calls that wait until programs have started or stopped


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """The state of a program as supervisord reports it. Times are whole Unix seconds; 0 means no such time."""

    name: str
    group: str
    state: str  # STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN
    pid: int
    start: int
    stop: int
    now: int
    exitstatus: int
    spawnerr: str
    description: str
    logfile: str


@dataclasses.dataclass(frozen=True, slots=True)
class Restarts:
    """The number of restarts of a program since its last requested start, and the limit (see `restart_limits`)."""

    restarts: int
    max_restarts: int
    failed: bool  # whether supervisord has given the program up because no restarts were left
    reason: str = ""  # the reason of the last exit


@dataclasses.dataclass(frozen=True, slots=True)
class GroupChanges:
    """The names of the groups that `update` would change or has changed."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class SupervisordClient:
    """A client of the supervisord at `url` ("unix:///path/supervisor.sock"). Threads and greenlets may share a client.

    Methods raise Unavailable if supervisord does not answer or is shutting down, and CommandError if it refuses.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        waiting_timeout_seconds: float = WAITING_TIMEOUT_SECONDS,
    ) -> None:
        self.url = url
        self._channel = XmlRpcChannel(url, timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._waiting_timeout_seconds = waiting_timeout_seconds

    def state(self) -> str:
        """Return the state of supervisord: RUNNING, or SHUTDOWN while it ends or reloads."""
        try:
            return self._channel.call("supervisor.getState")["statename"]
        except Fault as fault:
            if fault.faultCode == SHUTDOWN_STATE:
                return "SHUTDOWN"
            raise self._channel.error_of(fault) from None

    def has_extension(self) -> bool:
        """Return whether a supervisord with svc's extension answers; raise Unavailable if nothing answers."""
        try:
            self._channel.call("svc.getRestarts")
        except Fault as fault:
            return fault.faultCode != UNKNOWN_METHOD
        except (CommandError, ValueError, xml.parsers.expat.ExpatError):  # something other than supervisord answers
            return False
        return True

    def pid(self) -> int:
        """Return supervisord's own pid."""
        return self._call("supervisor.getPID")

    def processes(self) -> dict[str, Process]:
        """Return a dict from the full name of each program (see `full_name`) to its state."""
        processes = map(_process, self._call("supervisor.getAllProcessInfo"))
        return {full_name(process): process for process in processes}

    def process(self, name: str) -> Process:
        """Return the state of the program with this full name (see `full_name`)."""
        return _process(self._call("supervisor.getProcessInfo", name, about=name))

    def restarts(self) -> dict[str, Restarts]:
        """Return a dict from the full name of each program with a restart limit to its restarts."""
        payload = self._channel.call_extension("svc.getRestarts")
        return {name: Restarts(**fields) for name, fields in payload.items()}

    def configuration(self) -> SupervisordConfig:
        """Return the running configuration, which `update` compares with the files."""
        payload = json.loads(self._channel.call_extension("svc.getPrograms"))
        return SupervisordConfig(payload["root"], parse_groups(payload["groups"]))

    def log_positions(self) -> dict[str, tuple[LogPosition, ...]]:
        """Return, for each program, where the output of its last two processes begins in its log.

        The older process is first, if there were two. Return {} if the extension lacks this method.
        """
        try:
            payload = json.loads(self._channel.call("svc.getLogPositions"))
        except Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                return {}
            raise self._channel.error_of(fault) from None
        return {name: tuple(LogPosition(*fields) for fields in positions) for name, positions in payload.items()}

    def replace_babysitter(self, name: str) -> None:
        """Replace a babysitter by a new process with the configuration that supervisord read last (see `changes`).

        Return at once. The old babysitter ends, but its instance stays registered. Then the new babysitter starts and
        sends the current state to the registry.
        """
        self._channel.call_extension("svc.replaceProgram", name, "HUP", about=name)

    def replace(self, name: str) -> None:
        """Stop a program and start it with the configuration that supervisord read last (see `changes`).

        Return when the new process has started, before it is RUNNING. The group remains, so a router keeps its socket.
        """
        self.stop(name)
        self._channel.call_extension("svc.replaceProgram", name, about=name)

    def supervisor_version(self) -> str:
        """Return the version of supervisor."""
        return self._call("supervisor.getSupervisorVersion")

    def running_versions(self) -> dict[str, str]:
        """Return the running versions of svc, supervisor and Python; {} if the extension lacks this method."""
        try:
            return self._channel.call("svc.getVersion")
        except Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                return {}
            raise self._channel.error_of(fault) from None

    def start(self, name: str, wait: bool = True) -> bool:
        """Start a program, or all programs of a group ("GROUP:*"); return False if all of them ran already.

        With `wait`, return when they are RUNNING.
        """
        return self._start_or_stop("supervisor.startProcess", name, wait, done=ALREADY_STARTED)

    def stop(self, name: str, wait: bool = True) -> bool:
        """Stop a program, or all programs of a group ("GROUP:*"); return False if none of them ran.

        With `wait`, return when they have ended.
        """
        return self._start_or_stop("supervisor.stopProcess", name, wait, done=NOT_RUNNING)

    def restart(self, name: str, wait: bool = True) -> None:
        """Stop a program and start it again."""
        self.stop(name)
        self.start(name, wait)

    def stop_all(self) -> None:
        """Stop every program."""
        results = self._call("supervisor.stopAllProcesses", timeout_seconds=self._waiting_timeout_seconds)
        _raise_failures(results, NOT_RUNNING)

    def force_restart(self, name: str, pid: int, reason: str) -> bool:
        """End a process as if it had crashed, so that its restart is counted; return False if it has ended already."""
        try:
            return bool(self._channel.call("svc.endProcess", name, pid, reason))
        except Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                raise CommandError(
                    f"{self.url}: this supervisord runs an older svc and cannot end {name}; svc down, then svc up"
                ) from None
            raise self._channel.error_of(fault, name) from None

    def signal(self, name: str, signal: str) -> None:
        """Send a signal, such as HUP, to a program's process."""
        self._call("supervisor.signalProcess", name, signal, about=name)

    def shutdown(self) -> None:
        """Ask supervisord to stop every program and to end; return at once."""
        self._call("supervisor.shutdown")

    def changes(self) -> GroupChanges:
        """Make supervisord read its files again; return what `update` would change. Running programs are unaffected."""
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        return GroupChanges(tuple(added), tuple(changed), tuple(removed))

    def update(self) -> GroupChanges:
        """Update the running groups to match the files, as `supervisorctl update` does; return what changed.

        If a group cannot be added, the remaining groups are still added, and CommandError is raised at the end.
        """
        changes = self.changes()
        for group in (*changes.removed, *changes.changed):
            self.remove(group)
        failures = []
        for group in (*changes.changed, *changes.added):
            try:
                self.add(group)
            except CommandError as error:
                failures.append(error.message)
        if failures:
            raise CommandError("; ".join(failures))
        return changes

    def groups(self) -> set[str]:
        """Return the names of the groups that supervisord has."""
        return {process.group for process in self.processes().values()}

    def add(self, group: str) -> None:
        """Add a group with the configuration that supervisord read last (see `changes`), and start its programs."""
        self._call("supervisor.addProcessGroup", group, about=group)

    def remove(self, group: str) -> None:
        """Stop a group's programs and remove the group."""
        timeout = self._waiting_timeout_seconds
        results = self._call("supervisor.stopProcessGroup", group, about=group, timeout_seconds=timeout)
        _raise_failures(results, NOT_RUNNING)
        self._call("supervisor.removeProcessGroup", group, about=group)

    def _start_or_stop(self, method: str, name: str, wait: bool, done: int) -> bool:
        timeout = self._waiting_timeout_seconds if wait else self._timeout_seconds
        try:
            result = self._channel.call(method, name, wait, timeout_seconds=timeout)
        except Fault as fault:
            if fault.faultCode == done:
                return False
            raise self._channel.error_of(fault, name) from None
        if isinstance(result, list):  # a group has a result for each program that was not yet in the wanted state
            _raise_failures(result, done)
            return bool(result)
        return True

    def _call(self, method: str, *params: Any, about: str = "", timeout_seconds: float | None = None) -> Any:
        try:
            return self._channel.call(method, *params, timeout_seconds=timeout_seconds)
        except Fault as fault:
            raise self._channel.error_of(fault, about) from None


def full_name(process: Process) -> str:
    """Return a program's name in supervisorctl's notation: GROUP:NAME, or only NAME if the group has the same name."""
    return _full_name(process.group, process.name)


def _full_name(group: str, name: str) -> str:
    return name if group == name else f"{group}:{name}"


def _process(info: dict[str, Any]) -> Process:
    fields = {f.name: info[f.name] for f in dataclasses.fields(Process) if f.name != "state"}
    return Process(**fields, state=info["statename"])


def _raise_failures(results: list[dict[str, Any]], done: int) -> None:
    """Raise CommandError with every failure among the results for a group. `done` is the status that means success."""
    failures = [
        f"{_full_name(r['group'], r['name'])}: {MEANINGS.get(r['status'], r['description'])}"
        for r in results
        if r["status"] not in (SUCCESS, done)
    ]
    if failures:
        raise CommandError("; ".join(failures))
