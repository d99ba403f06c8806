"""The extension inside supervisord: applies the restart limits (see `restart_limits`), and keeps sockets open.

    [rpcinterface:svc]
    supervisor.rpcinterface_factory = svc.supervision.policy:make

The managed programs are those with SVC_MAX_RESTARTS and SVC_RESTART_DELAY in their
environment=. The extension leaves all other programs alone. It relies on this
behaviour of supervisord 4.3:

- supervisord calls the subscribers of a state event before it acts on the new
  state, and a subscriber may change the state again. So the extension changes
  EXITED to BACKOFF.
- A process in BACKOFF starts at `process.delay` (Unix seconds) if
  `process.backoff` is at most startretries, else it becomes FATAL. If the delay
  ends later than `process.backoff` seconds from now, supervisord assumes that the
  clock was set back. So the extension sets both, and startretries must be at least
  the restart delay in seconds.
- `process.pid` is still set during the events of an exit, so that the process group
  can be killed.
- supervisord calls `make` once for each of its HTTP servers. After a reload (SIGHUP)
  it creates a new Supervisor, clears all subscriptions and calls `make` again.
"""

import atexit
import dataclasses
import gc
import glob
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from supervisor import events
from supervisor.datatypes import signal_number
from supervisor.states import SIGNALLABLE_STATES, STOPPED_STATES, ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from svc.base import private_files, version
from svc.protocol.on_demand_variables import ON_DEMAND_VARIABLE
from svc.supervision import log_position, restart_limits
from svc.supervision.exits import ExitStatuses, ForcedRestarts, kill_group
from svc.supervision.log_position import LogPosition
from svc.supervision.on_demand.arbiter import Arbiter
from svc.supervision.on_demand.supervised import SupervisedInstances
from svc.supervision.restart_limits import RestartCount, RestartLimits
from svc.supervision.rpc import RpcInterface, full_name, loaded_group
from svc.supervision.socket_holder import SocketHolder

PRIVATE_UMASK = 0o027
# keys of [rpcinterface:svc], with type and minimum
ARBITER_KEYS: dict[str, tuple[type[int] | type[float], float]] = {"parallel_loads": (int, 1), "stay_factor": (float, 0)}
STOPPED_OR_GIVEN_UP = (ProcessStates.STOPPED, ProcessStates.FATAL)  # only a start on request leads out of these states


class Extension:
    """Handles supervisord's events: counts the restarts of the managed programs, holds sockets and kills orphans."""

    def __init__(self, supervisord: Any, arbiter: Arbiter | None = None) -> None:
        self.supervisord = supervisord
        self.instances = SupervisedInstances(supervisord, arbiter or Arbiter(socket.gethostname()))
        self.logger = supervisord.options.logger
        self.counts: dict[str, RestartCount] = {}
        self.log_positions: dict[str, tuple[LogPosition, ...]] = {}  # see `rpc.getLogPositions`
        self.sockets = SocketHolder()
        self.replaced: set[str] = set()  # full names of programs that `replace` has sent a signal
        self.forced_restarts = ForcedRestarts()
        self.exit_statuses = ExitStatuses(supervisord.options)
        for event, handler in {
            events.ProcessStateStartingEvent: self.instances.starting,
            events.ProcessStateEvent: self.state_changed,
            events.ProcessGroupAddedEvent: self.group_added,
            events.ProcessGroupRemovedEvent: self.group_removed,
            events.SupervisorStoppingEvent: self.shutdown_began,
            events.Tick5Event: self.tick,
        }.items():
            events.subscribe(event, self._guarded(handler))
        for name in supervisord.process_groups:  # these groups were added before the extension was loaded
            self._guarded(self.group_added)(events.ProcessGroupAddedEvent(name))

    def _guarded(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def handle(event: Any) -> None:
            try:
                handler(event)
            except Exception as error:  # noqa: BLE001 - no error of the extension may end supervisord
                self.logger.critical(f"svc: {type(event).__name__}: {error!r}")

        return handle

    def is_shutting_down(self) -> bool:
        """Return whether supervisord is shutting down or reloading."""
        return self.supervisord.options.mood < SupervisorStates.RUNNING

    def state_changed(self, event: Any) -> None:
        """Apply the restart limits to a process whose state has changed; kill its orphans, and keep its socket open."""
        process = event.process
        limits = restart_limits.read_limits(process.config.environment)
        if limits is None:
            return
        kind = type(event)
        if kind is events.ProcessStateStartingEvent:
            self._note_log_position(process)
            requested = event.from_state in STOPPED_OR_GIVEN_UP or full_name(process) in self.replaced
            self._started(process, requested)
        elif kind is events.ProcessStateExitedEvent:
            process.change_state(ProcessStates.BACKOFF)  # supervisord then calls this handler again, for BACKOFF
        elif kind is events.ProcessStateBackoffEvent:
            kill_group(process.pid)
            if full_name(process) not in self.replaced and self.instances.has_ended_asleep(process):
                process.stop()  # others may have the memory of its GPUs; the next demand starts it
            else:
                self._apply_restart_limits(process, limits)
        elif kind is events.ProcessStateStoppedEvent:
            kill_group(process.pid)
            self.forced_restarts.finish(process.pid)
            self._forget_failure(process)
            self.replaced.discard(full_name(process))
            self.sockets.stopped(process.group, time.time())
        elif kind is events.ProcessStateFatalEvent:
            self.sockets.stopped(process.group, time.time())

    def group_added(self, event: Any) -> None:
        """Keep the socket of a new group open, so that no other program can bind the group's address.

        supervisord itself only tests the address when it adds a group. If it cannot bind the address later, when the
        program starts, it exits.
        """
        group = self.supervisord.process_groups[event.group]
        if any(restart_limits.read_limits(p.config.environment) for p in group.processes.values()):
            self.sockets.added(group)
            self.sockets.stopped(group, time.time())  # begins the grace period, in case the program is never started
        else:
            self.sockets.release(event.group)

    def group_removed(self, event: Any) -> None:
        """Forget the restarts of a removed group; keep its socket if a group with this name and address replaces it."""
        successor = loaded_group(self.supervisord, event.group)
        self.sockets.removed(event.group, getattr(successor, "socket_config", None), time.time())
        for name in [n for n in self.counts if n.partition(":")[0] == event.group]:
            del self.counts[name]
            self.log_positions.pop(name, None)

    def replace(self, group: Any, process: Any, config: Any, signal_name: str) -> None:
        """Give a program a new configuration, and have it started with this configuration.

        1. A program that does not run is started at once. If it is an instance on demand, it stays asleep instead, and
           a failure of its last start is forgotten.
        2. A running process gets the signal. When it has ended, supervisord starts the program, even if the caller has
           died meanwhile.

        Raise RPCError for a process that is stopping, and for a running process if `signal_name` is empty or the
        program is not managed.
        """
        is_running = process.get_state() in SIGNALLABLE_STATES and process.get_state() != ProcessStates.STOPPING
        has_ended = process.get_state() in (*STOPPED_STATES, ProcessStates.BACKOFF)
        if not has_ended and not (
            is_running and signal_name and restart_limits.read_limits(process.config.environment)
        ):
            raise RPCError(Faults.STILL_RUNNING, full_name(process))
        number = signal_number(signal_name) if is_running else 0
        config.create_autochildlogs()
        group.config.process_configs = [config if c.name == config.name else c for c in group.config.process_configs]
        process.config = config
        if is_running:
            self.replaced.add(full_name(process))
            os.kill(process.pid, number)
        elif ON_DEMAND_VARIABLE not in config.environment:
            process.spawn()
        elif process.get_state() == ProcessStates.FATAL:
            process.change_state(ProcessStates.STOPPED)

    def shutdown_began(self, _event: Any) -> None:
        """Release every socket: supervisord ends, or reloads and then binds every socket again."""
        self.sockets.release_all()

    def tick(self, event: Any) -> None:
        """Release sockets whose grace period is over, and kill processes whose forced restart takes too long."""
        self.sockets.release_idle(time.time())
        self.forced_restarts.kill_overdue(time.monotonic())

    def _note_log_position(self, process: Any) -> None:
        path = getattr(process.config, "stdout_logfile", None)
        _tighten_logs(path)
        if isinstance(path, str):
            name = full_name(process)
            self.log_positions[name] = (*self.log_positions.get(name, ())[-1:], log_position.end_of(path))

    def _started(self, process: Any, requested: bool) -> None:
        # `svc launch` reads this variable. It is set at each start, because supervisord's pid changes when supervisord
        # becomes a daemon, after it has loaded the extension.
        os.environ["SVC_SUPERVISOR_PID"] = str(os.getpid())
        name = full_name(process)
        self.counts[name] = restart_limits.after_start(self.counts.get(name, RestartCount()), requested)
        self.replaced.discard(name)
        if requested:
            process.backoff = 0  # supervisord does not reset it when a program in BACKOFF is stopped
        self.sockets.started(process.group)

    def _apply_restart_limits(self, process: Any, limits: RestartLimits) -> None:
        name = full_name(process)
        reason = (
            self.forced_restarts.finish(process.pid)
            or self.exit_statuses.describe(process.pid)
            or process.spawnerr
            or "it did not start"
        )
        if name in self.replaced:
            process.delay = time.time()
            return
        count, delay = restart_limits.after_exit(
            self.counts.get(name, RestartCount()), limits, self.is_shutting_down(), reason
        )
        self.counts[name] = count
        if delay is None:
            process.backoff = process.config.startretries + 1  # so that supervisord makes the program FATAL
            process.spawnerr = f"{reason}; gave up after {limits.max_restarts} restarts"
        else:
            process.backoff = min(math.ceil(delay), process.config.startretries)
            process.delay = time.time() + delay
            process.spawnerr = (
                f"{reason}{restart_limits.RESTART_NOTE}{count.restarts + 1} of {limits.max_restarts} in {delay:g} s"
            )
            if process.backoff < delay:
                self.logger.critical(f"svc: {name}: startretries must be at least the restart delay, {delay:g}")
        self.logger.info(f"svc: {name}: {process.spawnerr}")

    def _forget_failure(self, process: Any) -> None:
        name = full_name(process)
        self.counts[name] = dataclasses.replace(self.counts.get(name, RestartCount()), failed=False)


def search_paths(environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return two variables: PATH, beginning with `directory`, so that `svc` is found; SVC_PATH, the original PATH."""
    path = environ.get("PATH", os.defpath)
    if "SVC_PATH" in environ and path.split(os.pathsep)[0] == directory:
        return {}  # after a reload, both variables are set already
    return {"PATH": directory + os.pathsep + path, "SVC_PATH": path}


def _keep_logs_private(options: Any) -> None:
    """Set a umask that keeps other users from reading files of supervisord and of svc's own programs.

    SVC_UMASK keeps the original umask, which `svc launch` restores for instances. The umask in `options` changes as
    well, because supervisord applies it when it becomes a daemon.
    """
    umask = os.umask(0o077)
    # After a reload, SVC_UMASK is set already and must not change.
    os.environ.setdefault("SVC_UMASK", f"{umask if options.nodaemon else options.umask:03o}")
    options.umask |= PRIVATE_UMASK
    os.umask(umask | PRIVATE_UMASK)
    _tighten_logs(options.logfile)


def _tighten_logs(path: Any) -> None:
    """Remove other users' permissions from a log and its rotated files, because an older svc did not restrict them."""
    if isinstance(path, str):  # not a path if supervisord itself chooses the log
        for name in [path, *glob.glob(f"{glob.escape(path)}.*")]:
            private_files.tighten(name)


def _arbiter(config: Mapping[str, str]) -> Arbiter:
    """Return the arbiter of instances on demand, with the values in [rpcinterface:svc].

    Raise ValueError for an unknown key or an invalid value.
    """
    if unknown := sorted(config.keys() - ARBITER_KEYS):
        raise ValueError(f"[rpcinterface:svc] {', '.join(unknown)}: unknown key; there are {', '.join(ARBITER_KEYS)}")
    values = {}
    for key, (kind, minimum) in ARBITER_KEYS.items():
        try:
            values[key] = kind(config.get(key, "1"))
        except ValueError:
            values[key] = kind(-1)
        if not minimum <= values[key] < math.inf:
            raise ValueError(f"[rpcinterface:svc] {key}={config[key]!r} must be a number of at least {minimum}")
    return Arbiter(socket.gethostname(), int(values["parallel_loads"]), values["stay_factor"])


def make(supervisord: Any, **config: Any) -> RpcInterface:
    """Return the RPC interface; supervisord calls this factory once for each of its HTTP servers."""
    arbiter = _arbiter(config)
    interface = getattr(supervisord, "svc_interface", None)
    if interface is None:
        os.environ.pop("SVC_SUPERVISOR_PID", None)  # set if another supervisord has started this one
        atexit.register(gc.freeze)  # as in svc/__main__.py
        version.running()  # cache the version of the running code, because an upgrade may replace the files
        os.environ.update(search_paths(os.environ, os.path.dirname(sys.executable)))
        _keep_logs_private(supervisord.options)
        interface = supervisord.svc_interface = RpcInterface(Extension(supervisord, arbiter))
    return interface
