"""The state that the parts of a router share: settings, keys, connections, balancer, statistics, the table's origin.

With one process, this state is complete. With several, `workers/` has the states of the control process and of those
that relay, and what they share.
"""

import itertools
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable

from svc.config.upstream_keys import UpstreamKeys
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.perimeter.networks import parse_networks
from svc.protocol.instance_load import ListedLoad
from svc.router.balance.adaptive_limits import AdaptiveLimits
from svc.router.balance.balancer import Balancer
from svc.router.balance.health_tracker import HealthTracker
from svc.router.balance.object_owners import ObjectOwners
from svc.router.balance.policies import uses_policy
from svc.router.balance.routing_table import Origin
from svc.router.balance.target import NO_DISCOVERY, Discovery, Target, with_lost_memory
from svc.router.balance.work import EMPTY_VIEW, engine_view
from svc.router.http import session_headers
from svc.router.http.allowed_paths import AllowedPaths
from svc.router.http.request import HeadRules
from svc.router.http.request_head_cache import RequestHeadCache
from svc.router.proxy.accounts import AccountRules
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.body_buffers import BodyBuffers
from svc.router.proxy.poison_list import PoisonList
from svc.router.proxy.upstream import UpstreamPool
from svc.router.proxy.user_rows import UserRows
from svc.router.telemetry.access_log import AccessLog
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.resumption_events import ResumptionEvents
from svc.router.telemetry.statistics import Statistics
from svc.router.usage.ledger import Ledger
from svc.router.usage.usage_sums import UsageSums
from svc.settings import RouterSettings

SETTING_NAMES = SettingNames(
    "allowed_hosts (--allowed-hosts, or under [router] in config/svc.toml); where a proxy sends it, name the proxy in "
    "trusted_proxies instead",
    "cors_origins (--cors-origins, or under [router] in config/svc.toml)",
)
MAX_SMALL_TABLE = 100  # number of entries up to which a table is replaced at once
INTERVAL_SECONDS_PER_ENTRY = 0.0001  # pause between two replacements of a larger table, which take 7 us per entry


class RouterState:
    """The objects that requests, health checks and the sync with the registry share.

    `now` is a monotonic time that the worker sets at each sweep: coarse, but cheap to read.
    """

    def __init__(
        self,
        settings: RouterSettings,
        clock: Callable[[], float] = time.monotonic,
        keys: ApiKeys | None = None,
        hosts: Hosts | None = None,
        upstream_keys: UpstreamKeys | None = None,
        objects: ObjectOwners | None = None,
    ) -> None:
        self.settings = settings
        self.browsers = BrowserRules(hosts or Hosts(settings.allowed_hosts), SETTING_NAMES, settings.cors_origins)
        self.clock = clock
        self.now = clock()
        self.origin: Origin | None = None  # where the table comes from; None: there is no table
        self.ready = False  # whether there is a table
        self.registry_away = False  # whether no registry answers
        self.draining = False
        # Which instance has which response or file. `objects or ...` would replace a shared map that is still empty.
        self.objects = ObjectOwners(threading.Lock()) if objects is None else objects
        self.keys = keys  # the API keys of clients; None: clients need none
        self.keeps_unlisted = False  # whether the table has instances that the registry does not list any more
        self.has_unapplied_keys = False  # whether config/svc.toml sets a file of keys that this router does not read
        self.trusted = parse_networks(settings.trusted_proxies, "trusted_proxies")
        self.accounts = AccountRules(
            settings.user_headers, parse_networks(settings.trusted_fronts, "trusted_fronts"), settings.fair == "address"
        )
        self.users = UserRows(1, threading.Lock())  # what each user behind an API key has used of its limits
        # If true, every relayed request is authorized. If false, only a request whose head requires it.
        self.authorizes_all = keys is not None or self.accounts.needed_without_keys
        self.metrics_networks = parse_networks(settings.metrics_networks, "metrics_networks")
        self.poison = PoisonList(settings.poison_timeout)
        self.poison_counts: defaultdict[str, int] = defaultdict(int)  # API key -> requests that killed two instances
        pseudonym = b"svc-router-%08x" % random.getrandbits(32)  # random: two routers must have different ones
        self.head_cache = RequestHeadCache(
            keys is not None,
            HeadRules(
                AllowedPaths(settings.allow_paths),
                pseudonym,
                self.browsers,
                session_headers.ranks(settings.session_headers),
            ),
        )
        self.max_body = min(settings.max_body, settings.max_buffered)
        self.buffers = BodyBuffers(settings.max_buffered, self.max_body)
        self.upstream_pool = UpstreamPool(settings.upstream_ca)
        self.event_reporter = EventReporter(settings.port)
        self.access_log = (
            AccessLog(settings.access_log, settings.access_log_format == "text") if settings.access_log else None
        )
        self.statistics = Statistics()
        self.resumptions = ResumptionEvents(clock)
        self._resume_by_model = {model: value == "on" for model, value in settings.resume_models}
        self.usage = UsageSums() if settings.usage_file else None  # for the ledger; None if the router keeps none
        self.ledger: Ledger | None = None  # set in the process that writes it
        self.health = HealthTracker(settings, clock, self.statistics, self.event_reporter)
        self.balancer = Balancer(settings, clock, self.health, self.statistics)
        self.loads: dict[str, ListedLoad] = {}  # instance -> load of its engine; empty if nothing uses loads
        # The requests of this process at instances that hand over: (instance, `moving` or why they stay) -> number.
        self.handovers: dict[tuple[str, str], int] = {}
        self._adaptive_limits = AdaptiveLimits()
        self.upstream_keys = upstream_keys or UpstreamKeys()  # API keys for instances, by instance name or model
        self.discoveries: dict[str, Discovery] = {}  # name of a static service -> its discovered properties
        self._has_new_discovery = False  # whether `discoveries` was changed after the table was composed
        self._composed_at = float("-inf")  # when the table was replaced last
        self._table_lock = threading.RLock()  # held while a new table is composed and put in place
        self._ids = itertools.count(random.getrandbits(40))
        self._id_prefix = b"-".join(str(uuid.uuid4()).encode().split(b"-")[:4])

    def request_id(self) -> bytes:
        """Return a new id in the form of a UUID of version 4: llama-cpp-python rejects any other form with status 400.

        The last part is a counter, because a random number would cost ten times as much.
        """
        return b"%b-%012x" % (self._id_prefix, next(self._ids))

    def resumes(self, model: str | None) -> bool:
        """Return whether the settings allow another instance to continue a broken answer of this model."""
        return self._resume_by_model.get(model or "", self.settings.resume == "on")

    def sweep(self) -> None:
        """Do the periodic work of table, balancer and buffers, and write the access log: ten times a second."""
        self._apply_discoveries_if_due()
        self.balancer.expire(self.now)
        self.buffers.expire(self.now)
        self.resumptions.flush(self.event_reporter)
        if self.access_log is not None:
            self.access_log.flush()

    def idle_connections(self) -> int:
        """Return the number of idle connections to instances."""
        return self.upstream_pool.idle_count()

    def handover_counts(self) -> dict[tuple[str, str], int]:
        """Return how many requests move away from the instances that hand over, and how many stay and why."""
        return self.handovers

    def buffered_bytes(self) -> int:
        """Return the bytes of large request bodies, arriving and in flight."""
        return self.buffers.used

    # The table's sources.

    def replace_targets(self, targets: Iterable[Target]) -> None:
        """Replace the table by a new one with these instances, their discovered properties and their API keys."""
        with self._table_lock:
            self._has_new_discovery, self._composed_at = False, self.clock()
            completed = [self._completed(target) for target in targets]
            for name in self.discoveries.keys() - {target.name for target in completed}:
                del self.discoveries[name]
            self.objects.remove_instances(with_lost_memory(self.balancer.table.targets, completed))
            self.balancer.replace(completed)

    def set_discovery(self, name: str, discovery: Discovery) -> None:
        """Store the discovered properties of a static service, and apply them to the present and all later tables.

        A large table that has just been replaced is replaced again only by a later sweep. Otherwise the first checks of
        1,000 static services would compose a table of 1,000 entries 1,000 times.
        """
        with self._table_lock:
            if self.discoveries.get(name, NO_DISCOVERY) != discovery:
                self.discoveries[name] = discovery
                self._has_new_discovery = True
                self._apply_discoveries_if_due()

    def apply_discoveries(self) -> None:
        """Apply the discoveries that the table does not have yet."""
        with self._table_lock:
            if self._has_new_discovery:
                self.replace_targets(self.balancer.table.targets)

    def _apply_discoveries_if_due(self) -> None:
        if self._has_new_discovery:
            entries = len(self.balancer.table.targets)
            interval = INTERVAL_SECONDS_PER_ENTRY * entries if entries > MAX_SMALL_TABLE else 0
            if self.clock() - self._composed_at >= interval:
                self.apply_discoveries()

    def set_upstream_keys(self, keys: UpstreamKeys) -> None:
        """Use these API keys for requests to instances from now on."""
        with self._table_lock:
            self.upstream_keys = keys
            self.replace_targets(self.balancer.table.targets)

    def set_loads(self, loads: dict[str, ListedLoad], own_requests: dict[str, int]) -> None:
        """Use these loads of engines for the choice of instances from now on.

        `own_requests`: how many requests at each engine are this router's.
        """
        self.loads = loads
        balancer, settings = self.balancer, self.settings
        pools = [[member.name for member in pool.members] for pool in balancer.table.by_model.values()]
        view = EMPTY_VIEW
        if uses_policy(settings, "auto", "least_load"):
            view = engine_view(loads, own_requests, pools, settings.max_kv_cache, settings.max_queue_ratio)
        balancer.use_view(view._replace(limits=self._limits_from_loads(own_requests)))

    def _limits_from_loads(self, own_requests: dict[str, int]) -> dict[str, int]:
        """Return the limits of the instances with `max_concurrency = "auto"` whose engines report their load."""
        now, in_flight = self.clock(), self.balancer.loads
        names = [target.name for target in self.balancer.table.targets if target.has_adaptive_limit]
        reports = {name: (load, now - load.age) for name, load in self.loads.items()}
        return self._adaptive_limits.update(names, reports, own_requests, lambda name: in_flight.get(name, 0), now)

    def uses_loads(self) -> bool:
        """Return whether a policy uses the loads of engines, or the limit of an instance follows from them."""
        if uses_policy(self.settings, "auto", "least_load"):
            return True
        return any(target.has_adaptive_limit for target in self.balancer.table.targets)

    def _completed(self, target: Target) -> Target:
        """Return a target with its API key. A static service also gets its discovered properties."""
        if target.static:
            target = self.discoveries.get(target.name, NO_DISCOVERY).applied_to(target)
        keys = self.upstream_keys
        key = keys.find(target.name, target.models)
        # Until the models of a static service are known, it may turn out to have a key: withhold clients' credentials.
        return target.with_key(key, not key and target.discovers_models and not target.models and bool(keys.models))

    def table_age(self) -> float | None:
        """Return the seconds since a registry last reported the table as current; None if no registry ever did."""
        confirmed_at = self.origin.confirmed_at if self.origin else None
        return None if confirmed_at is None else self.clock() - confirmed_at
