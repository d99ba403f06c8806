"""Runs the router: gunicorn with one process that relays requests, or with several and one that controls them."""

import gc
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base_async import AsyncWorker

from svc.base.address import is_loopback
from svc.base.cores import usable_cores
from svc.base.gunicorn_app import GunicornApplication
from svc.base.listen import allow_connections, bind
from svc.base.loop import Loop
from svc.perimeter import local_machine
from svc.router.balance.object_owners import ObjectOwners
from svc.router.settings_check import check_settings, tls_context
from svc.router.workers.lock_watch import LockWatch
from svc.router.workers.process_group import ProcessGroup
from svc.router.workers.shared_counts import CONTROL_SLOT, ProcessLock
from svc.settings import RouterSettings

if TYPE_CHECKING:  # imported in the worker only, after gevent has patched the standard library
    from flask import Flask
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

    from svc.router.router_components import RouterComponents
    from svc.router.workers.relay_process import RelayComponents


WORKER_CONNECTIONS = 10_000
DESCRIPTORS_PER_CLIENT = 2  # the client's connection, and one to an instance
MAX_ACCEPT = 100  # number of connections that a process accepts before requests have their turn
MAX_WORKERS = 8  # maximum number of processes that relay if `workers` is 0
STOP_MARGIN_SECONDS = 3  # the master's grace period is this much longer than the worker's
SWEEP_INTERVAL_SECONDS = 1.0  # time between two sweeps under another WSGI server


class LateWorker(AsyncWorker):
    """The worker class for gunicorn's master. In a worker's process, the object takes the class that does the work.

    Therefore the master imports neither gevent nor the modules that relay, which saves a quarter of its memory. A
    worker that starts after a HUP imports these modules anew, with new code.
    """

    def init_process(self) -> None:
        if self.app.slot == CONTROL_SLOT:
            from svc.router.workers.control_process import ControlWorker

            self.__class__ = ControlWorker
        else:
            from svc.router.worker import RelayWorker

            self.__class__ = RelayWorker
        self.init_process()


class RouterApplication(GunicornApplication):
    """The router as a gunicorn application. Its components are built in the worker, once gevent has patched Python.

    With one process (`relaying` is 1), that process is the whole router. With more, there is a control process beside
    them, and `group` has what they share. `slot` is the place of the running process in that group.
    """

    def __init__(self, settings: RouterSettings, bind: str, loopback_only: bool, relaying: int = 1) -> None:
        self._settings = settings
        self._bind = bind
        self._loopback_only = loopback_only
        self._relaying = relaying
        self._groups = [ProcessGroup(relaying)] if relaying > 1 else []  # the newest is the last
        lock = ProcessLock()
        self._objects_lock_watch = LockWatch(lock)
        self._objects = ObjectOwners(lock)  # shared by all groups, so that a HUP forgets no object
        self.slot: int | None = None
        self.components: RouterComponents | RelayComponents
        super().__init__()

    @property
    def group(self) -> ProcessGroup:
        return self._groups[-1]

    @property
    def replaces_a_group(self) -> bool:
        """Return whether an older group still finishes its requests, after a HUP."""
        return len(self._groups) > 1

    def run(self) -> None:
        if self._groups:
            from svc.router.workers.group_arbiter import GroupArbiter

            GroupArbiter(self).run()
        else:
            super().run()

    def check_locks(self) -> None:
        """Kill a process that was stopped while it holds a lock, because the others wait for that lock.

        The master calls this at least once a second.
        """
        for watch in (self._objects_lock_watch, *(group.lock_watch for group in self._groups)):
            watch.check()

    def options(self) -> dict[str, object]:
        return {
            "bind": self._bind,
            "worker_class": LateWorker,
            "worker_connections": WORKER_CONNECTIONS,
            "graceful_timeout": int(self._settings.graceful_timeout) + STOP_MARGIN_SECONDS,
            "proc_name": "svc-router",
            "workers": self._relaying + 1 if self._groups else 1,
            "pre_fork": self._pre_fork,
            "child_exit": self._child_exit,
            "on_reload": self._on_reload,
        }

    def _pre_fork(self, arbiter: "Arbiter", worker: "Worker") -> None:
        if self._groups:
            self.slot = self.group.counts.slot = self.group.assign(worker)
        freeze_memory()

    def _child_exit(self, arbiter: "Arbiter", worker: "Worker") -> None:
        """Free the slot of a process that has ended. gunicorn calls this hook in the master."""
        for group in self._groups:
            group.free(worker)
        for group in self._groups[:-1]:
            if not group.in_use:
                group.close()
                self._groups.remove(group)

    def _on_reload(self, arbiter: "Arbiter") -> None:
        """Begin a new group before gunicorn forks the processes that replace the present ones."""
        if self._groups:
            self._groups.append(ProcessGroup(self._relaying))

    def load(self) -> Callable[..., Any]:
        from svc.router.router_components import build

        if self.slot is None or self.slot == CONTROL_SLOT:
            from svc.router.app import create_app

            counts = self.group.counts if self._groups else None
            self.components = build(self._settings, self._loopback_only, counts, self._objects)
            return create_app(self.components.state, feed=self.components.feed)
        from svc.router.workers.relay_process import RelayComponents

        hosts = local_machine.hosts(self._settings.allowed_hosts, self._settings.host, self._loopback_only)
        group = self.group
        self.components = RelayComponents(self._settings, hosts, group.counts, group.listener, self._objects)
        return unused_app

    @property
    def max_accept(self) -> int:
        """How many connections a process accepts in a row. If several processes relay: 1, so that all get clients."""
        return 1 if self._groups else MAX_ACCEPT

    def tls(self) -> ssl.SSLContext | None:
        return tls_context(self._settings)


def unused_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Take the place of the WSGI application in a process that has none: gunicorn requires one."""
    raise NotImplementedError


def worker_count(setting: int, cores: int) -> int:
    """Return how many processes relay. `setting`: the value of `workers`; 0 means a number that suits the cores.

    That number is a quarter of the cores, because engines need the others, but at least 1 and at most MAX_WORKERS.
    """
    return setting or max(1, min(MAX_WORKERS, cores // 4))


def freeze_memory() -> None:
    """Exclude all present objects from later garbage collections, which would write to the memory that forks share.

    Call this before a fork. When gevent patches the worker, it replaces held locks, but does not see frozen ones. That
    is harmless, because no lock is held at the fork.
    """
    if gc.get_freeze_count():  # an object that was frozen before an earlier fork may be garbage by now
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def standalone() -> "Flask":
    """Start the router's loops, and return the router as a WSGI application for another WSGI server.

    For example: `gunicorn 'svc.router.serve:standalone()'`. Settings come from the environment and config/svc.toml. The
    setting `host` must be the address on which that server listens.
    """
    from svc.config.settings_file import load_settings
    from svc.config.site import Site
    from svc.router.app import create_app
    from svc.router.proxy.wsgi_relay import OpenExchanges
    from svc.router.router_components import build

    settings = load_settings(Site(Path()).svc_toml, os.environ, check_rules=False).router
    components = build(settings, is_loopback(settings.host))
    open_exchanges = OpenExchanges(components.state)
    components.start()
    Loop("deadlines", open_exchanges.sweep, SWEEP_INTERVAL_SECONDS).start()
    return create_app(components.state, open_exchanges, components.feed)


def serve(settings: RouterSettings, fd: int | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, on the listening socket `fd` if given; raise ConfigError or CommandError."""
    check_settings(settings)
    if fd is None:
        fd = bind("router", settings.host, settings.port).detach()
    allow_connections(DESCRIPTORS_PER_CLIENT * WORKER_CONNECTIONS)
    with socket.socket(fileno=os.dup(fd)) as listener:
        loopback_only = local_machine.is_loopback_only(listener)
    RouterApplication(settings, f"fd://{fd}", loopback_only, worker_count(settings.workers, usable_cores())).run()
