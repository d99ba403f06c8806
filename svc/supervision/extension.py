"""The extension that supervisord loads: total restart limits, no orphans, sockets that survive restarts, and an end
for a process that only seems to live.

    [rpcinterface:svc]
    supervisor.rpcinterface_factory = svc.supervision.policy:make

It looks after the programs that carry SVC_MAX_RESTARTS and SVC_RESTART_DELAY in
environment= and leaves all others alone. What it relies on in supervisord 4.3:

- An event's callbacks run inside the change of state that they tell of, so a
  callback may change the state again: an exit becomes BACKOFF before anything
  acts on it.
- BACKOFF ends at `delay` (Unix seconds) if `backoff` <= startretries, else in
  FATAL. supervisord takes a `delay` further away than `backoff` seconds for a
  clock set back, so both are set; startretries must be at least the delay.
- While an exit is told, `pid` is still set: its process group can be killed.
- A reload (SIGHUP) makes a new Supervisor, clears all subscriptions and calls
  the factory again; the factory is called once for each HTTP server too.
"""

import dataclasses
import glob
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from supervisor import events
from supervisor.datatypes import signal_number
from supervisor.states import SIGNALLABLE_STATES, STOPPED_STATES, ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from svc.base import private_files, version
from svc.supervision import restarts
from svc.supervision.exit_status import Exits
from svc.supervision.forced_restart import Endings, kill_group
from svc.supervision.restarts import Count, Limits
from svc.supervision.rpc import Interface, full_name, wanted_group
from svc.supervision.sockets import Sockets

NOT_FOR_OTHERS = 0o027  # umask
ASKED = (ProcessStates.STOPPED, ProcessStates.FATAL)  # a start from here is one that somebody asked for


class Policy:
    """What is remembered of our programs, and the events that change it."""

    def __init__(self, supervisord: Any) -> None:
        self.supervisord = supervisord
        self.logger = supervisord.options.logger
        self.counts: dict[str, Count] = {}
        self.sockets = Sockets()
        self.replaced: set[str] = set()  # names of those that were told to end so that they start anew
        self.endings = Endings()
        self.exits = Exits(supervisord.options)
        for event, handler in {
            events.ProcessStateEvent: self.changed,
            events.ProcessGroupAddedEvent: self.added,
            events.ProcessGroupRemovedEvent: self.removed,
            events.SupervisorStoppingEvent: self.stopping,
            events.Tick5Event: self.tick,
        }.items():
            events.subscribe(event, self._guarded(handler))
        for name in supervisord.process_groups:  # those of the start came before us
            self._guarded(self.added)(events.ProcessGroupAddedEvent(name))

    def _guarded(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def handle(event: Any) -> None:
            try:
                handler(event)
            except Exception as error:  # noqa: BLE001 - supervisord must outlive us
                self.logger.critical(f"svc: {type(event).__name__}: {error!r}")

        return handle

    def leaving(self) -> bool:
        """Whether supervisord shuts down or reloads."""
        return self.supervisord.options.mood < SupervisorStates.RUNNING

    def changed(self, event: Any) -> None:
        """A process changed its state."""
        process = event.process
        limits = restarts.limits(process.config.environment)
        if limits is None:
            return
        kind = type(event)
        if kind is events.ProcessStateStartingEvent:
            _tighten_logs(getattr(process.config, "stdout_logfile", None))
            self._started(process, event.from_state in ASKED or full_name(process) in self.replaced)
        elif kind is events.ProcessStateExitedEvent:
            process.change_state(ProcessStates.BACKOFF)  # comes back here as the next one
        elif kind is events.ProcessStateBackoffEvent:
            kill_group(process.pid)
            self._exited(process, limits)
        elif kind is events.ProcessStateStoppedEvent:
            kill_group(process.pid)
            self.endings.over(process.pid)
            self._forget_failure(process)
            self.replaced.discard(full_name(process))
            self.sockets.stopped(process.group, time.time())
        elif kind is events.ProcessStateFatalEvent:
            self.sockets.stopped(process.group, time.time())

    def added(self, event: Any) -> None:
        """A group is there. supervisord has only tried its address; from here on nobody else can take it.

        supervisord dies when it cannot bind as the program starts.
        """
        group = self.supervisord.process_groups[event.group]
        if any(restarts.limits(p.config.environment) for p in group.processes.values()):
            self.sockets.added(group)
            self.sockets.stopped(group, time.time())  # it may not be started at all
        else:
            self.sockets.let_go(event.group)

    def removed(self, event: Any) -> None:
        """A group is gone: a new one of its name may want its address at once, by the configuration last read."""
        coming = wanted_group(self.supervisord, event.group)
        self.sockets.removed(event.group, getattr(coming, "socket_config", None), time.time())
        for name in [n for n in self.counts if n.partition(":")[0] == event.group]:
            del self.counts[name]

    def replace(self, group: Any, process: Any, config: Any, signal_name: str) -> None:
        """All at once, so that whoever asked may die: what is left has the old configuration, or starts with the new.

        Raises RPCError for a process that runs and is not to be signalled, or is on its way out.
        """
        runs = process.get_state() in SIGNALLABLE_STATES and process.get_state() != ProcessStates.STOPPING
        ended = process.get_state() in (*STOPPED_STATES, ProcessStates.BACKOFF)
        if not ended and not (runs and signal_name and restarts.limits(process.config.environment)):
            raise RPCError(Faults.STILL_RUNNING, full_name(process))
        number = signal_number(signal_name) if runs else 0
        config.create_autochildlogs()
        group.config.process_configs = [config if c.name == config.name else c for c in group.config.process_configs]
        process.config = config
        if runs:
            self.replaced.add(full_name(process))
            os.kill(process.pid, number)
        else:
            process.spawn()

    def stopping(self, _event: Any) -> None:
        """supervisord ends, or binds everything anew."""
        self.sockets.let_go_of_all()

    def tick(self, event: Any) -> None:
        self.sockets.let_go_of_idle(time.time())
        self.endings.kill_overdue(time.monotonic())

    def _started(self, process: Any, asked: bool) -> None:
        # For the shim; here, because supervisord may have become a daemon since it loaded us.
        os.environ["SVC_SUPERVISOR_PID"] = str(os.getpid())
        name = full_name(process)
        self.counts[name] = restarts.after_start(self.counts.get(name, Count()), asked)
        self.replaced.discard(name)
        if asked:
            process.backoff = 0  # which `stop` in BACKOFF leaves as it was
        self.sockets.started(process.group)

    def _exited(self, process: Any, limits: Limits) -> None:
        name = full_name(process)
        why = self.endings.over(process.pid) or self.exits.words(process.pid) or process.spawnerr or "it did not start"
        if name in self.replaced:
            process.delay = time.time()
            return
        count, delay = restarts.after_exit(self.counts.get(name, Count()), limits, self.leaving(), why)
        self.counts[name] = count
        if delay is None:
            process.backoff = process.config.startretries + 1  # FATAL at supervisord's next look
            process.spawnerr = f"{why}; gave up after {limits.max_restarts} restarts"
        else:
            process.backoff = min(math.ceil(delay), process.config.startretries)
            process.delay = time.time() + delay
            process.spawnerr = f"{why}; restart {count.restarts + 1} of {limits.max_restarts} in {delay:g} s"
            if process.backoff < delay:
                self.logger.critical(f"svc: {name}: startretries must be at least the restart delay, {delay:g}")
        self.logger.info(f"svc: {name}: {process.spawnerr}")

    def _forget_failure(self, process: Any) -> None:
        name = full_name(process)
        self.counts[name] = dataclasses.replace(self.counts.get(name, Count()), failed=False)


def search_paths(environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """PATH with svc's own directory first, so that `svc` in a command is this one; the operator's in SVC_PATH."""
    path = environ.get("PATH", os.defpath)
    if "SVC_PATH" in environ and path.split(os.pathsep)[0] == directory:
        return {}  # a reload: it stands as it should
    return {"PATH": directory + os.pathsep + path, "SVC_PATH": path}


def _keep_logs_private(options: Any) -> None:
    """What supervisord and svc's own programs create is for their user and group alone; instances get SVC_UMASK back.

    A daemon sets the umask of its options later, so both are changed.
    """
    umask = os.umask(0o077)
    os.environ.setdefault("SVC_UMASK", f"{umask if options.nodaemon else options.umask:03o}")  # a reload keeps it
    options.umask |= NOT_FOR_OTHERS
    os.umask(umask | NOT_FOR_OTHERS)
    _tighten_logs(options.logfile)


def _tighten_logs(path: Any) -> None:
    """Of an svc that left their mode to the umask; supervisord names some logs itself, by a type."""
    if isinstance(path, str):
        for name in [path, *glob.glob(f"{glob.escape(path)}.*")]:
            private_files.tighten(name)


def make(supervisord: Any, **config: Any) -> Interface:
    """The factory that supervisord calls, once for each of its HTTP servers."""
    if config:
        raise ValueError(f"[rpcinterface:svc] {', '.join(config)}: unknown key; there are none")
    interface = getattr(supervisord, "svc_interface", None)
    if interface is None:
        os.environ.pop("SVC_SUPERVISOR_PID", None)  # of another supervisord, which started whoever started this one

        version.running()  # as it is now
        os.environ.update(search_paths(os.environ, os.path.dirname(sys.executable)))
        _keep_logs_private(supervisord.options)
        interface = supervisord.svc_interface = Interface(Policy(supervisord))
    return interface
