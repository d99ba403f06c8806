"""The components of a running router: its state, and the loops that keep the state up to date."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svc.base.loop import Loop
from svc.base.secret_file import SecretFile
from svc.config.site import Site
from svc.config.upstream_keys import UpstreamKeys
from svc.perimeter import local_machine
from svc.router.balance.object_owners import ObjectOwners
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.day_limits import restore_day_limits
from svc.router.settings_check import check_settings, read_keys, read_upstream_keys
from svc.router.sources.instance_checks import InstanceChecks
from svc.router.sources.load_sync import LoadSync, uses_loads
from svc.router.sources.object_file import ObjectFile
from svc.router.sources.static_services import read_static
from svc.router.sources.table_cache import TableCache, TableFile
from svc.router.sources.table_sync import TableSync
from svc.router.state import RouterState
from svc.router.telemetry.event_reporter import SEND_INTERVAL_SECONDS, EventForwarder
from svc.router.ui.feed import UPDATE_INTERVAL_SECONDS, EventFollower, Feed
from svc.router.ui.host_gpus import GpuFollower
from svc.router.ui.unapplied_keys import UnappliedKeys
from svc.router.usage.ledger import WRITE_INTERVAL_SECONDS, Ledger
from svc.router.waking.babysitters import Babysitters
from svc.router.waking.rules_file import RulesFile
from svc.router.waking.waker import Waker
from svc.router.workers.control_state import ControlState
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_keys import SharedApiKey
from svc.router.wsgi import Answer, call
from svc.settings import RouterSettings

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

REGISTRY_TIMEOUT_SECONDS = 5.0  # limit for a request that reads events, loads or GPUs, or that reports events
MAX_CHECK_INTERVAL_SECONDS = 1.0  # maximum time between two searches for instances whose check is due
KEYS_INTERVAL_SECONDS = 1.0  # time between two checks whether a file of keys has changed
SAVE_INTERVAL_SECONDS = 1.0  # time between two checks whether the table has changed
RETRY_INTERVAL_SECONDS = 1.0  # pause before a loop that has failed runs again


@dataclass(frozen=True, slots=True)
class RouterComponents:
    state: RouterState
    sync: TableSync
    checks: InstanceChecks
    cache: TableCache
    feed: Feed
    loops: list[Loop]
    object_file: ObjectFile | None = None

    def start(self) -> None:
        """Fill the table, then start the loops."""
        self.sync.run_round()
        self.checks.discover_models()
        for loop in self.loops:
            loop.start()

    def answerer(self, app: Callable[..., Any]) -> Answer:
        """Return the function that answers requests for the router's own endpoints with this WSGI application."""
        return partial(call, app)

    def can_accept(self) -> bool:
        """Return True: `start` has filled the table."""
        return True

    def end_streams(self) -> None:
        """End the streams of all pages, because the router stops."""
        self.feed.subscribers.end()

    def stop(self) -> None:
        for loop in self.loops:
            loop.stop(timeout=0)  # 0: a loop may be blocked by a request to the registry
        self.cache.run_round()
        if self.object_file is not None:
            self.object_file.save()
        if self.state.ledger is not None:
            self.state.ledger.stop()
        if self.state.access_log is not None:
            self.state.access_log.flush()
        self.state.upstream_pool.close()


def build(
    settings: RouterSettings,
    loopback_only: bool,
    counts: SharedCounts | None = None,
    objects: ObjectOwners | None = None,
) -> RouterComponents:
    """Return the components without starting them; raise ConfigError for invalid settings or files.

    `loopback_only`: the router listens on loopback addresses only. `counts`: what the control process shares with the
    processes that relay; None if this process is the whole router. `objects`: which instance has which object, in
    memory that outlives the process.
    """
    check_settings(settings)
    static = read_static(Path(settings.static_services)) if settings.static_services else []
    client = _registry_client(settings, settings.health_timeout) if settings.registry_url else None
    upstream_keys = read_upstream_keys(settings)
    state = (RouterState if counts is None else partial(ControlState, counts=counts))(
        settings,
        keys=read_keys(settings, None if counts is None else partial(SharedApiKey, counts=counts)),
        hosts=local_machine.hosts(settings.allowed_hosts, settings.host, loopback_only),
        upstream_keys=upstream_keys.value if upstream_keys else None,
        objects=objects,
    )
    if state.keys is not None and settings.usage_file:
        restore_day_limits(Path(settings.usage_file), state.keys, state.users, state.clock(), time.time())
    file = TableFile(Path(settings.state_file)) if settings.state_file and client else None
    cached = file.load(client.urls) if file and client else None
    sync = TableSync(state, client, static, time.monotonic, cached)
    cache = TableCache(state, file)
    checks = InstanceChecks(state, time.monotonic)
    feed = Feed(state, site_name=settings.site_name or _site_directory_name(), hostname=socket.gethostname())
    loops = [
        Loop("sync", sync.run_round, RETRY_INTERVAL_SECONDS),
        Loop("checks", checks.run_round, min(MAX_CHECK_INTERVAL_SECONDS, settings.health_interval)),
        Loop("save", cache.run_round, SAVE_INTERVAL_SECONDS),
        Loop("page feed", feed.update, UPDATE_INTERVAL_SECONDS),
        *(_registry_page_loops(state, feed) if settings.registry_url else ()),
        *(_event_report_loops(state) if settings.registry_url else ()),
        *_load_loops(state),
        _waker_loop(state),
        *_key_loops(state, feed, upstream_keys),
        *_ledger_loops(state),
    ]
    object_file = ObjectFile(Path(settings.state_file), state.objects) if settings.state_file else None
    if object_file is not None:
        object_file.load()
    return RouterComponents(state, sync, checks, cache, feed, loops, object_file)


def _registry_client(settings: RouterSettings, timeout: float = REGISTRY_TIMEOUT_SECONDS) -> "RegistryClient":
    """Return a client of the registry. Without a registry, the router does not load the client's libraries."""
    from svc.client.registry import RegistryClient

    return RegistryClient(settings.registry_url.split(","), settings.registry_token_file, timeout)


def _site_directory_name() -> str:
    """Return the name of the current directory if that is a site, else ""."""
    here = Path.cwd()
    return here.name if (here / "config").is_dir() else ""


def _registry_page_loops(state: RouterState, feed: Feed) -> list[Loop]:
    """Return the loops that read, for open pages at /ui, the registry's events and the GPUs of the hosts."""
    events = EventFollower(feed, _registry_client(state.settings))
    gpus = GpuFollower(feed, _registry_client(state.settings), time.monotonic)
    loops = [
        Loop("registry events", events.run_round, RETRY_INTERVAL_SECONDS),
        Loop("GPUs", gpus.run_round, RETRY_INTERVAL_SECONDS),
    ]

    def wake() -> None:
        for loop in loops:
            loop.wake()

    feed.on_open = wake
    return loops


def _event_report_loops(state: RouterState) -> list[Loop]:
    """Return the loop that sends the router's own events to the registry."""
    forwarder = EventForwarder(state.event_reporter, _registry_client(state.settings))
    reporting = Loop("event reports", forwarder.run_round, SEND_INTERVAL_SECONDS)
    state.event_reporter.on_added = reporting.wake
    state.event_reporter.add("started", "router")
    return [reporting]


def _load_loops(state: RouterState) -> list[Loop]:
    """Return the loop that reads the loads of engines, if a policy or an adaptive limit may need them."""
    if not uses_loads(state.settings):
        return []
    client = _registry_client(state.settings)
    return [Loop("loads", LoadSync(state, client, time.monotonic).run_round, state.settings.load_interval)]


def _waker_loop(state: RouterState) -> Loop:
    """Return the loop that asks babysitters to wake instances on demand.

    It also begins a round as soon as a request begins to wait for such an instance.
    """
    path = Path(state.settings.awake_rules_file) if state.settings.awake_rules_file else Site(Path()).svc_toml
    rules = RulesFile(path, time.monotonic)
    waker = Waker(state, Babysitters(state.settings.upstream_ca), rules.rule_at, time.monotonic)
    loop = Loop("waker", waker.run_round, RETRY_INTERVAL_SECONDS)
    state.balancer.wakes.on_wait = loop.wake
    return loop


def _key_loops(state: RouterState, feed: Feed, upstream_keys: SecretFile[UpstreamKeys] | None) -> list[Loop]:
    """Return the loops that read config/svc.toml and the files of API keys again when they change."""
    unapplied = UnappliedKeys(Site(Path()).svc_toml, state.settings.keys_file)
    loops = [Loop("unapplied keys", lambda: _note_unapplied_keys(unapplied, state), KEYS_INTERVAL_SECONDS)]
    if (keys := state.keys) is not None:
        loops.append(Loop("keys", lambda: _refresh_keys(keys, feed), KEYS_INTERVAL_SECONDS))
    if (file := upstream_keys) is not None:
        loops.append(Loop("upstream keys", lambda: _refresh_upstream_keys(file, state), KEYS_INTERVAL_SECONDS))
    return loops


def _ledger_loops(state: RouterState) -> list[Loop]:
    """Return the loop that writes the ledger, if the router keeps one."""
    if state.usage is None:
        return []
    path, retention = Path(state.settings.usage_file), state.settings.usage_retention
    ledger = state.ledger = Ledger(path, state.usage, retention)
    return [Loop("usage", ledger.run_round, WRITE_INTERVAL_SECONDS)]


def _note_unapplied_keys(unapplied: UnappliedKeys, state: RouterState) -> None:
    state.has_unapplied_keys = unapplied.exist()


def _refresh_keys(keys: ApiKeys, feed: Feed) -> None:
    """Read the file of keys if it has changed, and then end the streams of all pages at /ui.

    A page's key may have been revoked. Pages with a valid key connect again at once.
    """
    if keys.refresh():
        feed.subscribers.end()


def _refresh_upstream_keys(file: SecretFile[UpstreamKeys], state: RouterState) -> None:
    if file.refresh():
        state.set_upstream_keys(file.value)
