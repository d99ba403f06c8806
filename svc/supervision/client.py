"""Speaks supervisord's XML-RPC over its unix socket: what supervisorctl does, for programs."""

import dataclasses
import http.client
import json
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Callable
from typing import Any

from svc.base.errors import CommandError, Unavailable
from svc.supervision.programs import Running, read
from svc.supervision.unix import UnixTransport

TIMEOUT = 10.0
WAITING = 600.0  # for calls that wait for programs to start or stop: as long as a stopwaitsecs may be

# supervisord's fault codes, and what they mean to whoever asked
UNKNOWN_METHOD, SHUTDOWN_STATE, BAD_NAME, ALREADY_STARTED, NOT_RUNNING, SUCCESS = 1, 6, 10, 60, 70, 80
MEANINGS = {
    BAD_NAME: "there is no such program",
    20: "its command is not found",
    21: "its command cannot be run",
    30: "supervisord failed to do it",
    40: "it ended while it started; its log tells why",
    50: "it could not be started; its log tells why",
    90: "it is there already",
    91: "it is still running",
    92: "supervisord refuses the configuration",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """One program as supervisord sees it. Times are whole Unix seconds, 0 where there is none."""

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
    restarts: int
    max_restarts: int
    failed: bool  # gave up because the restarts were used up
    reason: str = ""  # why it exited last, since somebody started it


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """Names of groups: what `update` does, or did."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class SupervisordClient:
    """The supervisord at `url` ("unix:///path/supervisor.sock").

    A connection a call, so that many threads or greenlets may share one.
    Raises Unavailable when no supervisord answers or it is shutting down,
    CommandError when it refuses.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT, waiting: float = WAITING) -> None:
        if not url.startswith("unix://"):
            raise CommandError(f"{url!r}: not a supervisord's unix socket; expected unix:///PATH")
        self.url = url
        self.timeout = timeout
        self.waiting = waiting

    def state(self) -> str:
        """RUNNING, or SHUTDOWN while it ends or reloads."""
        try:
            return self._call("supervisor.getState")["statename"]
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == SHUTDOWN_STATE:
                return "SHUTDOWN"
            raise self._refused("", fault) from None

    def ours(self) -> bool:
        """Whether what answers is a supervisord with our extension; raises Unavailable where nothing answers."""
        try:
            self._call("svc.getRestarts")
        except xmlrpc.client.Fault as fault:
            return fault.faultCode != UNKNOWN_METHOD
        except (CommandError, ValueError, xml.parsers.expat.ExpatError):  # no supervisord at all
            return False
        return True

    def pid(self) -> int:
        return self._ask("supervisor.getPID")

    def processes(self) -> dict[str, Process]:
        """Every program, by its full name ("qwen:server"; "router" where group and program have one name)."""
        found = [_process(info) for info in self._ask("supervisor.getAllProcessInfo")]
        return {full_name(p): p for p in found}

    def process(self, name: str) -> Process:
        return _process(self._ask("supervisor.getProcessInfo", name, about=name))

    def restarts(self) -> dict[str, Restarts]:
        """Of the programs with a restart limit, by the same names."""
        told = self._ask_extension("svc.getRestarts")
        return {name: Restarts(**values) for name, values in told.items()}

    def programs(self) -> Running:
        """The configuration that runs: what `update` compares the files with."""
        told = json.loads(self._ask_extension("svc.getPrograms"))
        return Running(told["root"], read(told["groups"]))

    def hand_over(self, name: str) -> None:
        """Starts a babysitter anew, with the configuration that `changes` has read; its instance stays registered.

        Returns at once: the old one ends, and then the new one tells the registry what is so.
        """
        self._ask_extension("svc.replaceProgram", name, "HUP", about=name)

    def replace(self, name: str) -> None:
        """Stops one program and starts it with the configuration that `changes` has read; its group stays.

        Returns when it was started, before it is RUNNING. A router keeps its listening socket.
        """
        self.stop(name)
        self._ask_extension("svc.replaceProgram", name, about=name)

    def version(self) -> str:
        """Which supervisor it is."""
        return self._ask("supervisor.getSupervisorVersion")

    def code(self) -> dict[str, str]:
        """Which svc, supervisor and Python it is made of; {} where the extension is older than this question."""
        try:
            return self._call("svc.getVersion")
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                return {}
            raise self._refused("", fault) from None

    def start(self, name: str, wait: bool = True) -> bool:
        """Starts a program, or all of "GROUP:*"; False when it ran already. `wait` for it to be RUNNING."""
        return self._order("supervisor.startProcess", name, wait, done=ALREADY_STARTED)

    def stop(self, name: str, wait: bool = True) -> bool:
        """Stops a program, or all of "GROUP:*"; False when it was not running."""
        return self._order("supervisor.stopProcess", name, wait, done=NOT_RUNNING)

    def restart(self, name: str, wait: bool = True) -> None:
        self.stop(name)
        self.start(name, wait)

    def stop_all(self) -> None:
        _raise_failed(self._ask("supervisor.stopAllProcesses", timeout=self.waiting), NOT_RUNNING)

    def end(self, name: str, pid: int, reason: str) -> bool:
        """Ends a process as if it had crashed, its restart counted; False when this pid runs no more."""
        try:
            return bool(self._call("svc.endProcess", name, pid, reason))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                raise CommandError(
                    f"{self.url}: this supervisord runs an older svc and cannot end {name}; svc down, then svc up"
                ) from None
            raise self._refused(name, fault) from None

    def signal(self, name: str, signal: str) -> None:
        self._ask("supervisor.signalProcess", name, signal, about=name)

    def shutdown(self) -> None:
        """Asks it to stop everything and end; returns at once."""
        self._ask("supervisor.shutdown")

    def changes(self) -> Changes:
        """What `update` would do now. supervisord reads its files and changes nothing that runs."""
        added, changed, removed = self._ask("supervisor.reloadConfig")[0]
        return Changes(tuple(added), tuple(changed), tuple(removed))

    def update(self) -> Changes:
        """Brings what runs in line with the files, as `supervisorctl update` does; says what was done.

        One group's failure does not keep the others from being added; it is raised at the end.
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
        """Names of those that supervisord has."""
        return {process.group for process in self.processes().values()}

    def add(self, group: str) -> None:
        """As the files say that `changes` read; its programs start."""
        self._ask("supervisor.addProcessGroup", group, about=group)

    def remove(self, group: str) -> None:
        """Stops it, and forgets it."""
        results = self._ask("supervisor.stopProcessGroup", group, about=group, timeout=self.waiting)
        _raise_failed(results, NOT_RUNNING)
        self._ask("supervisor.removeProcessGroup", group, about=group)

    def _order(self, method: str, name: str, wait: bool, done: int) -> bool:
        try:
            told = self._call(method, name, wait, timeout=self.waiting if wait else self.timeout)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == done:
                return False
            raise self._refused(name, fault) from None
        if isinstance(told, list):  # of a whole group; those already there are not in it
            _raise_failed(told, done)
            return bool(told)
        return True

    def _ask_extension(self, method: str, *params: Any, about: str = "") -> Any:
        try:
            return self._call(method, *params)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == UNKNOWN_METHOD:
                raise CommandError(
                    f"{self.url}: this supervisord lacks [rpcinterface:svc], or an older svc started it; "
                    "start it anew with `svc down` and `svc up`"
                ) from None
            raise self._refused(about, fault) from None

    def _ask(self, method: str, *params: Any, about: str = "", timeout: float | None = None) -> Any:
        try:
            return self._call(method, *params, timeout=timeout)
        except xmlrpc.client.Fault as fault:
            raise self._refused(about, fault) from None

    def _call(self, method: str, *params: Any, timeout: float | None = None) -> Any:
        transport = UnixTransport(self.url.removeprefix("unix://"), timeout or self.timeout)
        try:
            with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as server:
                call: Callable[..., Any] = getattr(server, method)
                return call(*params)
        except TimeoutError:
            raise Unavailable(f"{self.url}: supervisord did not answer {method} in time") from None
        except OSError as error:
            raise Unavailable(f"{self.url}: no supervisord answers: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise Unavailable(f"{self.url}: cannot understand supervisord's answer: {error!r}") from None
        except xmlrpc.client.ProtocolError:  # it raised something, as where it cannot bind a socket
            about = params[0] if params else self.url
            raise CommandError(f"{about}: supervisord failed in {method}; supervisord.log tells why") from None

    def _refused(self, about: str, fault: xmlrpc.client.Fault) -> CommandError | Unavailable:
        if fault.faultCode == SHUTDOWN_STATE:
            return Unavailable(f"{self.url}: supervisord is shutting down")
        meaning = MEANINGS.get(fault.faultCode, "")
        text = fault.faultString if not meaning else f"{meaning} ({fault.faultString})"
        return CommandError(f"{about or self.url}: {text}")


def full_name(process: Process) -> str:
    return _short(process.group, process.name)


def _short(group: str, name: str) -> str:
    """supervisorctl's way to write it."""
    return name if group == name else f"{group}:{name}"


def _process(info: dict[str, Any]) -> Process:
    fields = {f.name: info[f.name] for f in dataclasses.fields(Process) if f.name != "state"}
    return Process(**fields, state=info["statename"])


def _raise_failed(results: list[dict[str, Any]], done: int) -> None:
    """The results of a whole group: a line that tells each failure, if there is one."""
    failures = [
        f"{_short(r['group'], r['name'])}: {MEANINGS.get(r['status'], r['description'])}"
        for r in results
        if r["status"] not in (SUCCESS, done)
    ]
    if failures:
        raise CommandError("; ".join(failures))
