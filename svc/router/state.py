"""What the router knows and counts: one table, the loads, who is fit. One process has the whole truth."""

import itertools
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited, Unavailable
from svc.config.upstream_keys import UpstreamKeys
from svc.perimeter.browsers import BrowserRules, SettingNames
from svc.perimeter.hosts import Hosts
from svc.perimeter.networks import parse_networks
from svc.router.balance import ejection
from svc.router.balance.ejection import InstanceHealth
from svc.router.balance.model_aliases import meant
from svc.router.balance.policy import PART, POLICIES, PickContext
from svc.router.balance.request_queue import RequestQueue, Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.table import Discovery, Origin, Table, Target, build
from svc.router.http.allowed_paths import AllowedPaths
from svc.router.http.request import HeadRules
from svc.router.http.request_parser import RequestHeadCache
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.body_buffers import BodyBuffers
from svc.router.proxy.poison_list import PoisonList
from svc.router.proxy.upstream import UpstreamPool
from svc.router.telemetry.access_log import RequestRecorder
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.instance_statistics import InstanceStatistics
from svc.settings import RouterSettings

log = logging.getLogger(__name__)
RETRIES_AT_LEAST = 3  # at once, however small the load: a share of little is nothing
LONGEST_RETRY_AFTER = 60
NOTICE_SECONDS = 5.0  # in which a babysitter notices that its instance ended, and the table says so
UNKNOWN = InstanceHealth()
SETTING_NAMES = SettingNames(
    "allowed_hosts (--allowed-hosts, or under [router] in config/svc.toml); where a proxy sends it, name the proxy in "
    "trusted_proxies instead",
    "cors_origins (--cors-origins, or under [router] in config/svc.toml)",
)
NO_DISCOVERY = Discovery()


class RouterState:
    """Everything that requests, checks and syncs share. `now` is monotonic and coarse: set at each sweep."""

    def __init__(
        self,
        settings: RouterSettings,
        clock: Callable[[], float] = time.monotonic,
        keys: ApiKeys | None = None,
        hosts: Hosts | None = None,
        upstream_keys: UpstreamKeys | None = None,
    ) -> None:
        self.settings = settings
        self.browsers = BrowserRules(hosts or Hosts(settings.allowed_hosts), SETTING_NAMES, settings.cors_origins)
        self.clock = clock
        self.now = clock()
        self.table = Table()
        self.origin: Origin | None = None  # of the table
        self.ready = False  # whether there is a table at all
        self.away = False  # whether no registry answers
        self.draining = False
        self.keys = keys  # None: nobody needs one
        self.upstream_keys = upstream_keys or UpstreamKeys()  # of instances, by name or model
        self.trusted = parse_networks(settings.trusted_proxies, "trusted_proxies")
        self.metrics_networks = parse_networks(settings.metrics_networks, "metrics_networks")
        self.poison = PoisonList(settings.poison_timeout)
        self.poison_counts: defaultdict[str, int] = defaultdict(int)  # requests that killed two instances, by key
        pseudonym = b"svc-router-%08x" % random.getrandbits(32)  # two routers never share one, not even by their names
        self.head_cache = RequestHeadCache(
            keys is not None, HeadRules(AllowedPaths(settings.allow_paths), pseudonym, self.browsers)
        )
        self.max_body = min(settings.max_body, settings.max_buffered)
        self.buffers = BodyBuffers(settings.max_buffered, self.max_body)
        self.upstream_pool = UpstreamPool(settings.upstream_ca)
        self.lines = RequestQueue(settings.queue_size)
        self.news = EventReporter(settings.port)
        self.recorder = RequestRecorder(settings.access_log, settings.access_log_format == "text")
        self.loads: dict[str, int] = {}  # requests in flight by instance
        self.full: set[str] = set()  # those that have as many requests as they may have
        self.tallies: defaultdict[str, InstanceStatistics] = defaultdict(InstanceStatistics)
        self.fitness: dict[str, InstanceHealth] = {}
        self.discoveries: dict[str, Discovery] = {}  # of static services
        self.unlisted_model_requested = False  # since the checks last looked: an engine may have loaded it meanwhile
        self.in_flight = 0
        self.retrying = 0  # of those, the repeated ones that count for the retry budget
        self.retries = 0  # ever
        self.aliases = dict(settings.aliases)
        self.fallbacks = dict(settings.fallbacks)
        self._choices = {model: POLICIES[policy] for model, policy in settings.policies}
        self._choose = POLICIES[settings.policy]
        self._turns: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)
        self._untried = self._moment(())  # of most requests: made once, since it holds what changes
        self._lock = threading.RLock()  # one writer of the table at a time; nobody who reads it waits
        self._ids = itertools.count(random.getrandbits(40))
        self._id_prefix = b"-".join(str(uuid.uuid4()).encode().split(b"-")[:4])

    # Requests.

    def request_id(self) -> bytes:
        """Return a new id in the shape of a UUID of version 4: llama-cpp-python answers 400 to any other.

        A count in its last part costs a tenth of a random number.
        """
        return b"%b-%012x" % (self._id_prefix, next(self._ids))

    def meant(self, model: str | None) -> str | None:
        """What an alias stands for, or the fallback of a model that nobody has."""
        if not self.aliases and not self.fallbacks:
            return model
        return meant(model, self.aliases, self.fallbacks, lambda m: self.table.serves(m) or m in self.table.returning)

    def _moment(self, tried: tuple[str, ...]) -> PickContext:
        return PickContext(self.loads, self._turns, random.random, self.settings.cache_type_threshold, tried)

    def pick(self, ask: RoutingRequest, tried: tuple[str, ...] = ()) -> Target | None:
        """The instance for a request; None when all that could take it are busy, were tried, or are on their way back.

        Raises Unavailable where none of that is so.
        """
        pool = self.table.pool(ask.model)
        if pool is None or not pool.members:
            if ask.model in self.table.returning:
                return None
            self.unlisted_model_requested |= ask.model is not None and ask.model not in self.table.models
            raise Unavailable(no_services(ask.model))
        if self.full:
            tried = (*tried, *[m.name for m in pool.members if m.name in self.full])
        choose = self._choices.get(ask.model, self._choose) if self._choices and ask.model else self._choose
        member = choose(pool, ask, self._moment(tried) if tried else self._untried)
        return member.target if member else None

    def admit(self, ask: RoutingRequest, stay: Callable[[Waiter], None]) -> Target:
        """The instance for a request, as soon as there is one: behind those who wait already, for `queue_timeout`.

        `stay` is told of the place in the line before and after each wait, and may
        raise. Raises RateLimited when it takes too long, Unavailable when there is none.
        """
        if not (self.lines.waiting and self.lines.occupied(ask.model)) and (target := self.pick(ask)):
            return target
        target = self._wait(ask, stay, self.settings.queue_timeout, lambda: self.pick(ask))
        if target is not None:
            return target
        if self.table.serves(ask.model):
            raise RateLimited(
                f"all instances are busy: none was free within {self.settings.queue_timeout:g} s", self.retry_after()
            )
        raise Unavailable(no_services(ask.model))

    def admit_again(
        self, ask: RoutingRequest, stay: Callable[[Waiter], None], refused: tuple[Target, ...], taken: tuple[str, ...]
    ) -> Target | None:
        """Return an instance for a request that instances have refused, None where there is none in time.

        It waits NOTICE_SECONDS for the table to say what became of them; once that says that they restart, or where
        others are only busy, `queue_timeout`. Those that have `taken` it are not asked again. Raises as `admit`.
        """
        unchanged = {target.name for target in refused}

        def choose() -> Target | None:
            unchanged.intersection_update(self._unchanged_names(refused))  # it may become again what it was
            return self.pick(ask, (*unchanged, *taken))

        seconds = min(NOTICE_SECONDS, self.settings.queue_timeout)
        target = self._wait(ask, stay, seconds, choose, in_line=False)  # it stands in the way of no other
        if target is not None:
            return target
        if ask.model in self.table.returning or self._has_other_members(ask, (*self._unchanged_names(refused), *taken)):
            return self._wait(ask, stay, self.settings.queue_timeout, lambda: self.pick(ask, taken))
        return self.pick(ask, taken)  # one may have been away for a moment that no listing shows

    def pick_other(self, ask: RoutingRequest, failed: tuple[Target, ...]) -> Target | None:
        """Return an instance that this request has not failed at, None where none can take it now."""
        try:
            return self.pick(ask, self._unchanged_names(failed))
        except Unavailable:
            return None

    def _unchanged_names(self, failed: tuple[Target, ...]) -> tuple[str, ...]:
        """Return the names of the failed instances whose entry in the table is unchanged since."""
        return tuple(target.name for target in failed if target in self.table.targets)

    def _has_other_members(self, ask: RoutingRequest, names: tuple[str, ...]) -> bool:
        """Whether the model has other instances than these; they may be busy."""
        pool = self.table.pool(ask.model)
        return pool is not None and any(member.name not in names for member in pool.members)

    def _wait(
        self,
        ask: RoutingRequest,
        stay: Callable[[Waiter], None],
        seconds: float,
        choose: Callable[[], Target | None],
        in_line: bool = True,
    ) -> Target | None:
        """Return what `choose` finds once this request is the first in its queue, None after so many seconds.

        Without `in_line` it waits beside the queue: it need not be the first, and nothing waits behind it.
        """
        place = self.lines.join(ask.model, self.now + seconds, self.retry_after(), in_line)
        try:
            while not place.expired:
                stay(place)
                place.wait()
                stay(place)
                if self.lines.first(ask.model, place) and (target := choose()):
                    return target
        finally:
            self.lines.leave(ask.model, place)
        return None

    def retry_after(self) -> int:
        """Whole seconds after which a place may be free: what a request takes on average."""
        requests = sum(t.requests for t in self.tallies.values())
        mean = sum(t.seconds for t in self.tallies.values()) / requests if requests else 1.0
        return max(1, min(LONGEST_RETRY_AFTER, round(mean)))

    def may_retry(self) -> bool:
        """Whether the retry budget has room for one more attempt that counts for it."""
        return self.retrying < max(RETRIES_AT_LEAST, self.settings.retry_budget * self.in_flight)

    def begin(
        self, target: Target, repeated: bool = False, counts_for_budget: bool = False, infers: bool = True
    ) -> None:
        """An attempt starts; `observe` is its one end.

        `repeated`: it is not the request's first; `counts_for_budget`: it counts for the retry budget;
        `infers`: it may be the trial of an ejected instance.
        """
        load = self.loads[target.name] = self.loads.get(target.name, 0) + 1
        if target.limit and load >= target.limit:
            self.full.add(target.name)
        self.in_flight += 1
        if repeated:
            self.retries += 1
            self.retrying += counts_for_budget
        if infers and (fitness := self.fitness.get(target.name)) and fitness.trial:
            self._judge(target.name, ejection.tried)  # nobody else, until it is known how this one ends

    def answers(self, target: Target | None) -> None:
        """A good answer has begun: of a trial that is enough to know, however long the rest takes."""
        if target is not None and self.fitness.get(target.name, UNKNOWN).trying:
            self._judge(target.name, ejection.served)

    def observe(
        self,
        target: Target,
        seconds: float,
        failed: bool,
        faulty: str | None = "",
        counts_for_budget: bool = False,
        answered: bool = False,
        infers: bool = True,
    ) -> None:
        """The one report of an attempt's end.

        `faulty`: what the instance is to blame for, and may be ejected for; None: it did not come to that.
        `answered`: it has made a whole answer. `infers`: that it was not at fault says something of it.
        """
        name = target.name
        self.loads[name] -= 1
        if name in self.full:
            limit = next((t.limit for t in self.table.targets if t.name == name), 0)  # it may have changed since
            if self.loads[name] < limit or not limit:
                self.full.discard(name)
        self.in_flight -= 1
        if counts_for_budget:
            self.retrying -= 1
        tally = self.tallies[name]
        tally.requests += 1
        tally.seconds += seconds
        if failed:
            tally.errors += 1
        tally.answered += answered
        if faulty:
            self._judge(name, self._failed, faulty)
        elif infers and (before := self.fitness.get(name)) and (before.failures or before.until):
            self._judge(name, ejection.untold if faulty is None else ejection.served)
        if self.lines.waiting:
            self.lines.wake((*target.models, None))

    def produced(self, instance: str, model: str, tokens: int, first: float | None = None) -> None:
        """So many tokens more from an instance; `first`: the seconds until the first one of a stream that begins."""
        tally, meter = self.tallies[instance], self.recorder.meters[model]
        tally.tokens += tokens
        meter.produced += tokens
        if first is not None:
            tally.first_seconds += first
            tally.firsts += 1
            meter.first_byte.observe(first)

    # Checks, syncs and sweeps.

    def checked(self, name: str, well: bool, first_decides: bool = False) -> None:
        """What the router's own health check of an instance found.

        `first_decides`: the first check ever decides alone, also when it failed.
        """

        def verdict(before: InstanceHealth) -> InstanceHealth:
            first = first_decides and before.well is None
            return ejection.checked(before, well, 1 if first else self.settings.max_errors)

        self._judge(name, verdict)

    def set_discovery(self, name: str, profile: Discovery) -> None:
        """Keep what a check has discovered of a static service, in this table and in those to come."""
        with self._lock:
            if self.discoveries.get(name) != profile:
                self.discoveries[name] = profile
                self.replace(self.table.targets)

    def sweep(self) -> None:
        """Ten times a second: those who waited too long, ejections that are over, lines to be written."""
        if self.lines.waiting:
            self.lines.expire(self.now)
        self.buffers.expire(self.now)
        for name in [
            n for n, f in self.fitness.items() if f.until and self.now >= f.until and not (f.trial or f.trying)
        ]:
            self._judge(name, lambda before: ejection.lapsed(before, self.now))
        self.recorder.flush()

    def fit(self, target: Target) -> bool:
        """Whether it is to get requests: not ejected, and well; the router's checks decide where there are any."""
        fitness = self.fitness.get(target.name)
        if fitness is None:
            return target.well is not False
        return fitness.usable() and (target.well is not False if fitness.well is None else fitness.well)

    def _failed(self, before: InstanceHealth) -> InstanceHealth:
        out = sum(1 for t in self.table.targets if (f := self.fitness.get(t.name)) and not f.usable())
        may = ejection.may_eject(out, sum(t.admitted() for t in self.table.targets), self.settings.max_ejected)
        return ejection.failed(before, self.clock(), random.random, self.settings.max_errors, may)

    def _judge(self, name: str, verdict: Callable[[InstanceHealth], InstanceHealth], why: str = "") -> None:
        """`why`: what has failed, of a request."""
        with self._lock:
            before = self.fitness.get(name, InstanceHealth())
            after = self.fitness[name] = verdict(before)
            if after.well is not before.well and (before.well is not None or after.well is False):
                log.info("%s %s its health checks", name, "passes" if after.well else "fails")
                if before.well is not None or not self._known_unwell(name):
                    self.news.checked(name, after)
            if after.until != before.until:
                self.tallies[name].ejections += bool(after.until)
                self._ejected(name, before, after, why)
            if after.usable() != before.usable() or after.well is not before.well:
                self.replace(self.table.targets)

    def _known_unwell(self, name: str) -> bool:
        """Whether the registry says so already: a router that begins has nothing new to tell of it."""
        return any(t.well is False for t in self.table.targets if t.name == name)

    def _ejected(self, name: str, before: InstanceHealth, after: InstanceHealth, why: str) -> None:
        """Or not any more. Of one that fails its checks anyway neither is news."""
        if after.until:
            log.info("ejected %s for %.0f s: %s", name, after.until - self.now, why)
            if after.well is not False:
                self.news.ejected(name, before, after, why, self.now)
        else:
            log.info("%s is back", name)
            if before.told:
                self.news.add("readmitted", name)

    def replace(self, targets: Iterable[Target]) -> None:
        """A new table. An instance at another address, started anew, or heard again, is judged afresh."""
        with self._lock:
            before = {t.name: t for t in self.table.targets}
            found = tuple(self._completed(target) for target in targets)
            for target in found:
                old = before.get(target.name)
                if old is None or _returns(old, target):
                    self.fitness.pop(target.name, None)
            self.table = build(found, self.fit)
            self.full = {t.name for t in found if t.limit and self.loads.get(t.name, 0) >= t.limit}
            self._forget({t.name for t in found})
        if self.lines.waiting:
            self.lines.wake_all()

    def _completed(self, target: Target) -> Target:
        """Return a target with what was discovered of it, and with its API key."""
        if target.static:
            target = self.discoveries.get(target.name, NO_DISCOVERY).of(target)
        keys = self.upstream_keys
        key = keys.find(target.name, target.models)
        # Its list of models may need the key that is chosen by its models: no client may send its own instead.
        return target.with_key(key, not key and target.discovers_models and not target.models and bool(keys.models))

    def set_upstream_keys(self, keys: UpstreamKeys) -> None:
        """Send these keys from now on."""
        with self._lock:
            self.upstream_keys = keys
            self.replace(self.table.targets)

    def age(self) -> float | None:
        """Seconds since a registry last said that the table is so; None where none ever did."""
        seen = self.origin.seen if self.origin else None
        return None if seen is None else self.clock() - seen

    def _forget(self, known: set[str]) -> None:
        """Nothing grows for ever: counts of who left go once nothing is in flight, turns of models with them."""
        for name in self.discoveries.keys() - known:
            del self.discoveries[name]
        for name in {*self.loads, *self.tallies, *self.fitness} - known:
            if not self.loads.get(name):
                for counts in (self.loads, self.tallies, self.fitness):
                    counts.pop(name, None)
        for key in [k for k in self._turns if k.partition(PART)[0] not in ("", *self.table.by_model)]:
            del self._turns[key]


def _returns(old: Target, new: Target) -> bool:
    """Return whether the instance was restarted, moved, or got another key since: earlier failures do not count."""
    running = new.status == "running" and old.status != "running"
    heard = new.heard and not old.heard
    return running or heard or (old.url, old.registered, old.key) != (new.url, new.registered, new.key)


def no_services(model: str | None) -> str:
    return f"No healthy services available for model '{model}'" if model else "No healthy services available"
