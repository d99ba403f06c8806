"""The registry under gunicorn: one gevent worker, with the loops beside it.

The master stays plain and small. What the worker runs is imported in `load`,
after gunicorn has patched it: requests and ssl must not be loaded before.
"""

import importlib.util
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svc.base.errors import ConfigError
from svc.base.gunicorn_app import GunicornApplication
from svc.base.listen import allow_connections, bind
from svc.base.secret_file import read
from svc.perimeter import machine
from svc.perimeter.networks import Networks, parse_networks
from svc.registry.access.address_policy import Reach
from svc.registry.access.guard import Guard, parse_token, token_file
from svc.registry.store import redis_address
from svc.settings import RegistrySettings

if TYPE_CHECKING:
    from svc.base.loop import Loop
    from svc.registry.store.base import Store

log = logging.getLogger(__name__)
CONNECTIONS = 10_000
GRACEFUL = 5  # seconds for begun requests
FAREWELL = 0.5  # seconds between two looks at whether the watchers must go
SCHEME = "sqlite:"
DEFAULT_STORE = "sqlite:var/registry.db"


def serve(settings: RegistrySettings, ready: Callable[[int], object] | None = None) -> None:
    """Runs in the foreground until SIGTERM or Ctrl-C, then exits with 0; `ready` is told the port when it listens.

    Raises ConfigError or CommandError for what keeps it from starting.
    """
    parse_networks(settings.allowed_networks, "allowed_networks")
    for setting, path in (("token_file", settings.token_file), ("read_token_file", settings.read_token_file)):
        if path:
            read(Path(path), parse_token, setting)
    if settings.loopback_needs_token and not settings.token_file:
        raise ConfigError(
            "loopback_needs_token: without a token nobody could write; give its file, token_file under [registry] "
            "in config/svc.toml (--token-file, REGISTRY_TOKEN_FILE)"
        )
    check_store(settings)
    listener = bind("registry", settings.host, settings.port)
    allow_connections(2 * CONNECTIONS)  # each may ask for a check
    Server(settings, listener, ready).run()


def open_store(settings: RegistrySettings) -> "Store":
    """Of `sqlite:PATH` or a Redis; empty stands for var/registry.db under the working directory."""
    url = settings.store or DEFAULT_STORE
    if redis_address.is_redis(url):
        from svc.registry.store.redis import RedisStore

        return RedisStore(redis_address.parse(url, settings.store_password_file))
    from svc.registry.store.sqlite import SqliteStore

    path = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or not path:
        raise ConfigError(f"store: cannot use {redis_address.masked(url)!r}; give sqlite:PATH or redis://HOST:PORT/DB")
    return SqliteStore(Path(path))


def check_store(settings: RegistrySettings) -> None:
    """In the master, which must not load what Redis needs; one that is away is no reason not to start.

    The worker opens its own: a connection must not cross a fork.
    """
    if not redis_address.is_redis(settings.store):
        open_store(settings).close()
        return
    address = redis_address.parse(settings.store, settings.store_password_file)
    if importlib.util.find_spec("redis") is None:
        raise ConfigError("store: the redis package is missing: pip install 'infinilm-svc[redis]'")
    if address.password:
        raise ConfigError(
            "store: its URL holds a password, which the list of processes would show; "
            "write it into a file and name that one: store_password_file"
        )
    if address.password_file:
        redis_address.password(address.password_file)


class Server(GunicornApplication):
    """gunicorn's settings, and what its hooks do."""

    def __init__(
        self, settings: RegistrySettings, listener: socket.socket, ready: Callable[[int], object] | None
    ) -> None:
        self.settings = settings
        self.loopback_only = machine.is_loopback_only(listener)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self.port = self.address[1]
        self.fd = listener.detach()  # gunicorn's from here on
        self.ready = ready
        self.store: Store | None = None
        self.loops: list[Loop] = []
        super().__init__()

    def options(self) -> dict[str, object]:
        return {
            "bind": f"fd://{self.fd}",
            "proc_name": "svc registry",
            "worker_class": "svc.registry.worker.Worker",
            "worker_connections": CONNECTIONS,
            "graceful_timeout": GRACEFUL,
            "limit_request_line": 8190,  # the most there is
            "worker_exit": self.worker_exit,
        }

    def load(self) -> Any:
        """In the worker: the app, and the loops that post_worker_init starts."""
        import gevent

        from svc.base.loop import Loop
        from svc.client.probe import status
        from svc.registry.app import create_app
        from svc.registry.health_checks import Checks
        from svc.registry.health_probes import Probe
        from svc.registry.leases.cleanup import Cleanup
        from svc.registry.leases.sweep import INTERVAL, Sweep
        from svc.registry.metrics import Metrics

        s = self.settings

        networks = Networks(parse_networks(s.allowed_networks, "allowed_networks"), self.address)

        def limited(url: str) -> int:
            """Whatever trickles in: a check is over after twice its time."""
            with gevent.Timeout(2 * s.health_timeout, False):
                return status(url, s.health_timeout, rejection_reason=networks.rejection_reason)
            return 0

        probe = Probe(limited)
        store = self.store = open_store(s)
        sweep = Sweep(store, store.now, lambda: metrics.expirations.inc())
        metrics = Metrics(store, sweep.condition)
        checks = Checks(store, probe, metrics.checked)
        cleanup = Cleanup(store, s.forget_after, store.now, sweep.since, metrics.removals.labels("silence").inc)
        self.loops = [
            Loop("health checks", checks.round, s.health_interval),
            Loop("clean-up", cleanup.round, s.cleanup_interval),
            Loop("leases", sweep.round, INTERVAL),
        ]
        hosts = machine.hosts(s.allowed_hosts, s.host, self.loopback_only)
        reach = Reach(networks)
        return create_app(store, probe, guard(s), metrics, sweep, store.now, reach, s.max_services, hosts)

    def when_ready(self, arbiter: Any) -> None:
        super().when_ready(arbiter)
        if self.ready:
            self.ready(self.port)

    def post_worker_init(self, worker: Any) -> None:
        from svc.base.loop import Loop
        from svc.registry import event_stream

        super().post_worker_init(worker)
        if self.store is not None:  # beside the rest: a Redis may take its time
            threading.Thread(target=event_stream.begun, args=(self.store,), daemon=True).start()
        self.loops.append(Loop("farewell", lambda: self.let_go(worker), FAREWELL))
        for loop in self.loops:
            loop.start()

    def let_go(self, worker: Any) -> None:
        """A worker that ends answers its watchers, who come again to the next; gunicorn has no hook for it."""
        if not worker.alive and self.store is not None:
            worker.wsgi.extensions["svc.registry.api"].streams.end()
            self.store.wake()

    def worker_exit(self, arbiter: Any, worker: Any) -> None:
        """Requests are done by now: the loops, then the store."""
        for loop in self.loops:
            loop.stop(timeout=1)
        if self.store is not None:
            self.store.close()


def guard(settings: RegistrySettings) -> Guard:
    write_token = token_file(settings.token_file) if settings.token_file else None
    read_token = token_file(settings.read_token_file, "read_token_file") if settings.read_token_file else None
    return Guard(write_token, read_token, settings.insecure, settings.loopback_needs_token)
