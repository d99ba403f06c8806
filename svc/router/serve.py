"""Runs the router: gunicorn with one worker, which relays requests."""

import gc
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn.workers.base_async import AsyncWorker

from svc.base.address import is_loopback
from svc.base.gunicorn_app import GunicornApplication
from svc.base.listen import allow_connections, bind
from svc.base.loop import Loop
from svc.perimeter import local_machine
from svc.router.settings_check import check_settings, tls_context
from svc.settings import RouterSettings

if TYPE_CHECKING:  # imported in the worker only, after gevent has patched the standard library
    from flask import Flask

WORKER_CONNECTIONS = 10_000
DESCRIPTORS_PER_CLIENT = 2  # the client's connection, and one to an instance
STOP_MARGIN_SECONDS = 3  # by which the master's grace period is longer than the worker's
SWEEP_INTERVAL_SECONDS = 1.0  # between two sweeps under another WSGI server


class LateWorker(AsyncWorker):
    """The worker class for gunicorn's master. In the worker's process, the instance becomes a RelayWorker.

    So the master imports neither gevent nor the modules that relay, which saves a quarter of the master's memory. A
    worker that starts after a HUP imports these modules anew, with new code.
    """

    def init_process(self) -> None:
        from svc.router.worker import RelayWorker

        self.__class__ = RelayWorker
        self.init_process()


class RouterApplication(GunicornApplication):
    """The router as a gunicorn application. Its components are built in the worker, once gevent has patched Python."""

    def __init__(self, settings: RouterSettings, bind: str, loopback_only: bool) -> None:
        self._settings = settings
        self._bind = bind
        self._loopback_only = loopback_only
        super().__init__()

    def options(self) -> dict[str, object]:
        return {
            "bind": self._bind,
            "worker_class": LateWorker,
            "worker_connections": WORKER_CONNECTIONS,
            "graceful_timeout": int(self._settings.graceful_timeout) + STOP_MARGIN_SECONDS,
            "proc_name": "svc-router",
            "pre_fork": lambda arbiter, worker: freeze_memory(),
        }

    def load(self) -> "Flask":
        from svc.router.app import create_app
        from svc.router.router_components import build

        self.components = build(self._settings, self._loopback_only)
        return create_app(self.components.state, feed=self.components.feed)

    def tls(self) -> ssl.SSLContext | None:
        return tls_context(self._settings)


def freeze_memory() -> None:
    """Exclude all present objects from later garbage collections, which would write to the memory that forks share.

    Call this before a fork. When gevent patches the worker, it replaces held locks, but does not see frozen ones. That
    is harmless, because no lock is held at the fork.
    """
    gc.unfreeze()  # an object that was frozen before an earlier fork may be garbage by now
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

    settings = load_settings(Site(Path()).svc_toml, os.environ).router
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
    RouterApplication(settings, f"fd://{fd}", loopback_only).run()
