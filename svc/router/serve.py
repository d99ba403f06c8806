"""Running the router: gunicorn with one relaying worker, its loops around one state."""

import gc
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple

from gunicorn.workers.base_async import AsyncWorker

from svc.base.address import is_loopback
from svc.base.errors import ConfigError
from svc.base.gunicorn_app import GunicornApplication
from svc.base.listen import allow_connections, bind
from svc.base.loop import Loop
from svc.perimeter import local_machine
from svc.settings import RouterSettings

WORKER_CONNECTIONS = 10_000
DESCRIPTORS_PER_CLIENT = 2  # its connection, and one to an instance
KEYS_INTERVAL_SECONDS = 1.0  # between two looks whether a file of keys has changed
RETRY_INTERVAL_SECONDS = 1.0  # between two runs of a loop that has failed
SAVE = 1.0  # seconds between two looks whether the table is to be saved
STOP_MARGIN = 3  # seconds between the end of the worker's grace and the master's


class LateWorker(AsyncWorker):
    """Becomes the RelayWorker once it is a process of its own: the master has no use for gevent and all that relays.

    It saves a quarter of its memory, and a HUP takes up new code.
    """

    def init_process(self) -> None:
        from svc.router.worker import RelayWorker

        self.__class__ = RelayWorker
        self.init_process()


class Application(GunicornApplication):
    """What the worker needs: `state`, and `start` and `stop` for the loops that fill it.

    Everything is made in the worker, after gevent has patched it.
    """

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
            "graceful_timeout": int(self._settings.graceful_timeout) + STOP_MARGIN,
            "proc_name": "svc-router",
            "pre_fork": lambda server, worker: share(),
        }

    def load(self) -> Any:
        from svc.router.app import create_app

        self._made = make(self._settings, self._loopback_only)
        self.state, self.pulse = self._made.state, self._made.pulse
        return create_app(self.state, pulse=self.pulse)

    def tls(self) -> ssl.SSLContext | None:
        return tls(self._settings)

    def start(self) -> None:
        """The first table, then the loops."""
        self._made.sync.once()
        self._made.checks.discover_models()
        for loop in self._made.loops:
            loop.start()

    def stop(self) -> None:
        for loop in self._made.loops:
            loop.stop(timeout=0)  # one waits for the registry
        self._made.keeper.once()
        self.state.recorder.flush()
        self.state.upstream_pool.close()


def share() -> None:
    """What is there before the fork stays one copy for both: no garbage collection writes to it any more.

    No lock is held then, so gevent, which looks for such among what is collected, misses none.
    """
    gc.unfreeze()  # what an earlier fork left, and nobody needs any more, goes
    gc.collect()
    gc.freeze()


class Made(NamedTuple):
    """A state, and what keeps it true: `loops` call all the others again and again, once they are started."""

    state: Any
    sync: Any
    checks: Any
    keeper: Any
    pulse: Any
    loops: list[Loop]


def make(settings: RouterSettings, loopback_only: bool) -> Made:
    """Nothing of it is started; raises ConfigError."""
    from svc.client.registry import RegistryClient
    from svc.router.sources.instance_checks import InstanceChecks
    from svc.router.sources.static_services import read_static
    from svc.router.sources.table_cache import TableCache, TableFile
    from svc.router.sources.table_sync import TableSync
    from svc.router.state import RouterState
    from svc.router.telemetry.event_reporter import SEND_INTERVAL_SECONDS, EventForwarder
    from svc.router.ui.event_follower import EventFollower
    from svc.router.ui.feed import BEAT, Feed

    check(settings)
    static = read_static(Path(settings.static_services)) if settings.static_services else []
    urls = settings.registry_url.split(",")
    client = RegistryClient(urls, settings.registry_token_file, timeout=settings.health_timeout)
    hosts = local_machine.hosts(settings.allowed_hosts, settings.host, loopback_only)
    upstream_keys = read_upstream_keys(settings)
    state = RouterState(
        settings, keys=read_keys(settings), hosts=hosts, upstream_keys=upstream_keys.value if upstream_keys else None
    )
    file = TableFile(Path(settings.state_file)) if settings.state_file and settings.registry_url else None
    saved = file.load(client.urls) if file else None
    sync = TableSync(state, client if settings.registry_url else None, static, time.monotonic, saved)
    keeper = TableCache(state, file)
    checks = InstanceChecks(state, time.monotonic)
    checking = Loop("checks", checks.once, min(1.0, settings.health_interval))
    pulse = Feed(state)
    loops = [
        Loop("sync", sync.once, RETRY_INTERVAL_SECONDS),
        checking,
        Loop("save", keeper.once, SAVE),
        Loop("pulse", pulse.beat, BEAT),
    ]
    if settings.registry_url:
        events = Loop(
            "events",
            EventFollower(pulse, RegistryClient(urls, settings.registry_token_file)).once,
            RETRY_INTERVAL_SECONDS,
        )
        pulse.opened = events.poke
        forwarder = EventForwarder(state.news, RegistryClient(urls, settings.registry_token_file))
        telling = Loop("tell", forwarder.once, SEND_INTERVAL_SECONDS)
        state.news.added = telling.poke
        state.news.add("started", "router")
        loops += [events, telling]
    if state.keys is not None:
        loops.append(Loop("keys", lambda: reread(state.keys, pulse), KEYS_INTERVAL_SECONDS))
    if upstream_keys is not None:
        loops.append(Loop("upstream keys", lambda: reread_upstream(upstream_keys, state), KEYS_INTERVAL_SECONDS))
    return Made(state, sync, checks, keeper, pulse, loops)


def reread(keys: Any, pulse: Any) -> None:
    """Pages whose key is gone have seen enough; the others come again at once."""
    if keys.refresh():
        pulse.pages.end()


def reread_upstream(file: Any, state: Any) -> None:
    """Take the instances' keys from their file, if it has changed."""
    if file.refresh():
        state.set_upstream_keys(file.value)


def read_upstream_keys(settings: RouterSettings) -> Any:
    """Return the file of upstream API keys, None where there is none; raises ConfigError."""
    from svc.base.secret_file import SecretFile
    from svc.config.upstream_keys import SETTING, UpstreamKeys, parse

    if not settings.upstream_keys_file:
        return None
    file = SecretFile(Path(settings.upstream_keys_file), parse, SETTING, UpstreamKeys())
    file.load()
    return file


def read_keys(settings: RouterSettings) -> Any:
    """The keys that clients need, None where they need none; raises ConfigError."""
    from svc.router.proxy.api_keys import ApiKeys

    if not settings.keys_file:
        return None
    keys = ApiKeys(Path(settings.keys_file))
    keys.load()
    return keys


def tls(settings: RouterSettings) -> ssl.SSLContext | None:
    """What clients are served TLS with, None where they are not; raises ConfigError."""
    if not settings.certfile and not settings.keyfile:
        return None
    if not settings.certfile or not settings.keyfile:
        raise ConfigError("certfile and keyfile go together: give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path in (settings.certfile, settings.keyfile):
        readable(path)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile, password="")  # rather than to ask for one
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigError(
            f"certfile, keyfile: {settings.certfile} and {settings.keyfile} are no certificate (PEM) "
            f"and its unencrypted key: {reason}"
        ) from None
    return context


def check_ca(settings: RouterSettings) -> None:
    """Raises ConfigError for a file of CA certificates that holds none."""
    if settings.upstream_ca:
        readable(settings.upstream_ca)
        try:
            ssl.create_default_context(cafile=settings.upstream_ca)
        except ssl.SSLError:
            raise ConfigError(f"upstream_ca: {settings.upstream_ca}: no certificate (PEM) in it") from None


def readable(path: str) -> None:
    """Raises ConfigError where it is not; ssl does not say which of two files."""
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from None


def standalone() -> Any:
    """The whole router as a WSGI application, for another server: `gunicorn 'svc.router.serve:standalone()'`.

    Settings come from the environment and config/svc.toml; `host` says whether that server listens on loopback only.
    """
    from svc.config.settings_file import load_settings
    from svc.config.site import Site
    from svc.router.app import create_app
    from svc.router.proxy.wsgi_relay import OpenExchanges

    told = load_settings(Site(Path()).svc_toml, os.environ)
    made = make(told.router, is_loopback(told.router.host))
    open_exchanges = OpenExchanges(made.state)
    made.sync.once()
    made.checks.discover_models()
    for loop in (*made.loops, Loop("deadlines", open_exchanges.sweep, 1.0)):
        loop.start()
    return create_app(made.state, open_exchanges, made.pulse)


def check(settings: RouterSettings) -> None:
    """Raises ConfigError for settings that cannot work."""
    if not settings.registry_url and not settings.static_services:
        raise ConfigError("the router needs --registry-url, or --static-services, or both")
    from svc.config.upstream_keys import load
    from svc.perimeter.networks import parse_networks
    from svc.router.sources.static_services import read_static

    if settings.static_services:
        read_static(Path(settings.static_services))
    if settings.registry_token_file:
        readable(settings.registry_token_file)
    parse_networks(settings.trusted_proxies, "trusted_proxies")
    parse_networks(settings.metrics_networks, "metrics_networks")
    read_keys(settings)
    if settings.upstream_keys_file:
        load(Path(settings.upstream_keys_file))
    tls(settings)
    check_ca(settings)


def serve(settings: RouterSettings, fd: int | None = None) -> None:
    """Runs until SIGTERM or Ctrl-C, on the open socket `fd` if there is one. Raises ConfigError or CommandError."""
    check(settings)
    if fd is None:
        fd = bind("router", settings.host, settings.port).detach()
    allow_connections(DESCRIPTORS_PER_CLIENT * WORKER_CONNECTIONS)
    with socket.socket(fileno=os.dup(fd)) as listener:
        loopback_only = local_machine.is_loopback_only(listener)
    Application(settings, f"fd://{fd}", loopback_only).run()
