"""The registry under gunicorn: one gevent worker, with the background loops beside it.

The worker's code is imported in `load`, after gunicorn has patched the standard library, because requests and ssl must
be imported after that. This also keeps the memory of the gunicorn master small.
"""

import importlib.util
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svc.base.errors import ConfigError, Unavailable
from svc.base.gunicorn_app import GunicornApplication
from svc.base.listen import allow_connections, bind
from svc.base.own_commands import pip_install
from svc.base.secret_file import read
from svc.base.token_file import parse_tokens
from svc.perimeter import local_machine
from svc.perimeter.networks import AllowedNetworks, parse_networks
from svc.protocol.event import REGISTRY_SOURCE, Event
from svc.registry.access.address_policy import AddressPolicy
from svc.registry.access.guard import Guard, token_file
from svc.registry.store import redis_address
from svc.settings import RegistrySettings

if TYPE_CHECKING:
    from flask import Flask

    from svc.base.loop import Loop
    from svc.registry.store.contract import Store

log = logging.getLogger(__name__)
MAX_CONNECTIONS = 10_000
MAX_REQUEST_LINE_BYTES = 8190  # gunicorn's maximum
GRACEFUL_TIMEOUT_SECONDS = 5  # limit for the last requests of a worker that shuts down
SHUTDOWN_POLL_INTERVAL_SECONDS = 0.5  # maximum delay until a worker that shuts down answers its long polls
SQLITE_SCHEME = "sqlite:"
DEFAULT_STORE = "sqlite:var/registry.db"


def serve(settings: RegistrySettings, ready: Callable[[int], object] | None = None) -> None:
    """Run in the foreground until SIGTERM or Ctrl-C, then exit with 0.

    Once the registry listens, call `ready` with its port.

    Raise ConfigError or CommandError if the registry cannot start.
    """
    parse_networks(settings.allowed_networks, "allowed_networks")
    for setting, path in (("token_file", settings.token_file), ("read_token_file", settings.read_token_file)):
        if path:
            read(Path(path), parse_tokens, setting)
    if settings.loopback_needs_token and not settings.token_file:
        raise ConfigError(
            "loopback_needs_token: without a token no client could write; give its file, token_file under [registry] "
            "in config/svc.toml (--token-file, REGISTRY_TOKEN_FILE)"
        )
    check_store(settings)
    listener = bind("registry", settings.host, settings.port)
    allow_connections(2 * MAX_CONNECTIONS)  # each client may request a health check, which needs a second connection
    RegistryServer(settings, listener, ready).run()


def open_store(settings: RegistrySettings) -> "Store":
    """Return the store for the setting `store`: `sqlite:PATH`, a Redis URL, or by default ./var/registry.db."""
    url = settings.store or DEFAULT_STORE
    if redis_address.is_redis(url):
        from svc.registry.store.redis import RedisStore

        return RedisStore(redis_address.parse(url, settings.store_password_file))
    from svc.registry.store.sqlite import SqliteStore

    path = url.removeprefix(SQLITE_SCHEME)
    if not url.startswith(SQLITE_SCHEME) or not path:
        raise ConfigError(f"store: cannot use {redis_address.masked(url)!r}; give sqlite:PATH or redis://HOST:PORT/DB")
    return SqliteStore(Path(path))


def check_store(settings: RegistrySettings) -> None:
    """Raise ConfigError if the worker could not open the store; the master calls this before the fork.

    The worker opens the store itself, because a connection must not cross a fork. A Redis that does not answer is not
    an error: the registry starts and waits for it.
    """
    if not redis_address.is_redis(settings.store):
        open_store(settings).close()
        return
    address = redis_address.parse(settings.store, settings.store_password_file)
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(f"store: the redis package is missing: {pip_install('redis')}")
    if address.password:
        raise ConfigError(
            "store: its URL holds a password, which the list of processes would show; "
            "write it into a file and name that one: store_password_file"
        )
    if address.password_file:
        redis_address.read_password(address.password_file)


class RegistryServer(GunicornApplication):
    """The registry's gunicorn application: its settings and its hooks."""

    def __init__(
        self, settings: RegistrySettings, listener: socket.socket, ready: Callable[[int], object] | None
    ) -> None:
        self.settings = settings
        self.loopback_only = local_machine.is_loopback_only(listener)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.port = self.address[1]
        self.fd = listener.detach()  # detached, because gunicorn closes this descriptor
        self.ready = ready
        self.store: Store | None = None
        self.loops: list[Loop] = []
        super().__init__()

    def options(self) -> dict[str, object]:
        return {
            "bind": f"fd://{self.fd}",
            "proc_name": "svc registry",
            "worker_class": "svc.registry.worker.RegistryWorker",
            "worker_connections": MAX_CONNECTIONS,
            "graceful_timeout": GRACEFUL_TIMEOUT_SECONDS,
            "limit_request_line": MAX_REQUEST_LINE_BYTES,
            "worker_exit": self.worker_exit,
        }

    def load(self) -> "Flask":
        """Return the Flask application, and create the loops; gunicorn calls this in the worker."""
        import gevent

        from svc.base.loop import Loop
        from svc.client.probe import status
        from svc.registry.app import create_app
        from svc.registry.health_checker import HealthChecker, HealthProbe
        from svc.registry.leases.sweep import SWEEP_INTERVAL_SECONDS, LeaseSweep, ServiceCleanup
        from svc.registry.metrics import RegistryMetrics

        settings = self.settings
        networks = AllowedNetworks(parse_networks(settings.allowed_networks, "allowed_networks"), self.address)

        def limited_status(url: str) -> int:
            """Return the status code of a URL, or 0 if there is no answer within twice health_timeout.

            health_timeout alone does not end a slow check, because it begins anew with each byte received.
            """
            with gevent.Timeout(2 * settings.health_timeout, False):
                return status(url, settings.health_timeout, rejection_reason=networks.rejection_reason)
            return 0

        probe = HealthProbe(limited_status)
        store = self.store = open_store(settings)
        sweep = LeaseSweep(store, store.now, lambda: metrics.expirations.inc())
        metrics = RegistryMetrics(store, sweep.health)
        health_checker = HealthChecker(store, probe, metrics.count_check, settings.health_interval)
        count_removal = metrics.removals.labels("silence").inc
        cleanup = ServiceCleanup(store, settings.forget_after, store.now, sweep.listening_since, count_removal)
        self.loops = [
            Loop("health checks", health_checker.run_round, settings.health_interval),
            Loop("clean-up", cleanup.run_round, settings.cleanup_interval),
            Loop("leases", sweep.run_round, SWEEP_INTERVAL_SECONDS),
        ]
        hosts = local_machine.hosts(settings.allowed_hosts, settings.host, self.loopback_only)
        address_policy = AddressPolicy(networks)
        guard = create_guard(settings)
        max_services = settings.max_services
        return create_app(store, probe, guard, metrics, sweep, store.now, address_policy, max_services, hosts)

    def when_ready(self, arbiter: Any) -> None:
        super().when_ready(arbiter)
        if self.ready:
            self.ready(self.port)

    def post_worker_init(self, worker: Any) -> None:
        from svc.base.loop import Loop

        super().post_worker_init(worker)
        if self.store is not None:  # in a thread of its own, because Redis may be slow to answer
            threading.Thread(target=report_start, args=(self.store,), daemon=True).start()
        self.loops.append(Loop("shutdown", lambda: self._end_watches(worker), SHUTDOWN_POLL_INTERVAL_SECONDS))
        for loop in self.loops:
            loop.start()

    def _end_watches(self, worker: Any) -> None:
        """End the long polls once the worker is shutting down, so that their clients connect to the next worker.

        A loop calls this method, because gunicorn has no hook that is called when a worker begins to shut down.
        """
        if not worker.alive and self.store is not None:
            from svc.registry.app import API_EXTENSION

            worker.wsgi.extensions[API_EXTENSION].streams.end()
            self.store.wake()

    def worker_exit(self, arbiter: Any, worker: Any) -> None:
        """Stop the loops, then close the store; gunicorn calls this after the last request has ended."""
        for loop in self.loops:
            loop.stop(timeout=1)
        if self.store is not None:
            self.store.close()


def create_guard(settings: RegistrySettings) -> Guard:
    write_token = token_file(settings.token_file) if settings.token_file else None
    read_token = token_file(settings.read_token_file, "read_token_file") if settings.read_token_file else None
    return Guard(write_token, read_token, settings.insecure, settings.loopback_needs_token)


def report_start(store: "Store") -> None:
    """Add the event that this registry was restarted; do nothing if the store fails or has no events yet."""
    with suppress(Unavailable):
        if not store.events(0)[1]:
            return
        now, services = store.now(), store.snapshot()[1]
        last_heartbeat = max((service.last_heartbeat for service in services), default=now)
        message = f"the last heartbeat was {now - last_heartbeat:.0f} s ago" if services else ""
        store.add_events([Event(time=now, kind="started", service=REGISTRY_SOURCE, message=message)])
