"""The state of a process that relays beside others: what it counts and observes goes to the control process."""

from collections.abc import Callable, Iterable
from pathlib import Path

from svc.perimeter.hosts import Hosts
from svc.router.balance.object_owners import ObjectOwners
from svc.router.proxy.api_keys import ApiKey, ApiKeys
from svc.router.proxy.poison_list import PoisonedBody, PoisonList
from svc.router.state import RouterState
from svc.router.telemetry.event_reporter import EventReporter
from svc.router.telemetry.statistics import Statistics
from svc.router.workers.messages import KeyEntries, Observation, Snapshot, WorkerReport, decode
from svc.router.workers.relay_balancer import RelayBalancer
from svc.router.workers.shared_buffers import SharedBodyBuffers
from svc.router.workers.shared_counts import SharedCounts
from svc.router.workers.shared_keys import SharedApiKey
from svc.settings import RouterSettings

MAX_UNSENT_OBSERVATIONS = 10_000  # limit while there is no control process; beyond it, the oldest half is dropped


class Unsent:
    """What the process will report to the control process. `on_urgent` is called for what must be reported at once."""

    def __init__(self, on_urgent: Callable[[], object]) -> None:
        self.observations: list[Observation] = []
        self.events: list[tuple[str, str, str]] = []
        self.poisoned: list[PoisonedBody] = []
        self._on_urgent = on_urgent

    def observe(self, observation: Observation) -> None:
        if len(self.observations) >= MAX_UNSENT_OBSERVATIONS:
            del self.observations[: MAX_UNSENT_OBSERVATIONS // 2]
        self.observations.append(observation)
        self._on_urgent()

    def __bool__(self) -> bool:
        return bool(self.observations or self.events or self.poisoned)


class ReportedEvents(EventReporter):
    """Passes the events of this process to the control process, which sends them to the registry."""

    def __init__(self, port: int, unsent: Unsent) -> None:
        super().__init__(port)
        self._unsent = unsent

    def add(self, kind: str, name: str, message: str = "") -> None:
        self._unsent.events.append((kind, name, message))


class ReportedPoison(PoisonList):
    """Passes new entries of this process to the control process, and waits until all processes have them.

    Otherwise the client could repeat its request at another process, which would kill more instances.
    """

    def __init__(self, seconds: float, unsent: Unsent, synchronize: Callable[[], object]) -> None:
        super().__init__(seconds)
        self._unsent = unsent
        self._synchronize = synchronize

    def merge(self, entries: Iterable[PoisonedBody]) -> None:
        """Add entries of other processes. Keep all in the order in which they expire: `contains` relies on it."""
        self.replace(sorted([*self.entries.values(), *entries], key=lambda entry: entry.expires))

    def report_all(self) -> None:
        """Report all entries to a control process that may be a new one, which has none."""
        self._unsent.poisoned = list(self.entries.values())

    def add(self, body: bytes, now: float) -> None:
        before = self.entries
        super().add(body, now)
        if added := [entry for digest, entry in self.entries.items() if digest not in before]:
            self._unsent.poisoned += added
            self._synchronize()


class RelayStatistics(Statistics):
    """The counts of this process since its last report.

    `retry_after_seconds` comes from the control process, which knows how long the requests of all processes take.
    """

    __slots__ = ("retry_after_seconds",)

    def __init__(self) -> None:
        super().__init__()
        self.retry_after_seconds = 1

    def retry_after(self) -> int:
        return self.retry_after_seconds


class RelayState(RouterState):
    """The state of one process that relays. Its table, keys and poisoned requests come with the snapshots."""

    def __init__(
        self,
        settings: RouterSettings,
        hosts: Hosts,
        counts: SharedCounts,
        on_urgent: Callable[[], object],
        synchronize: Callable[[], object],
        objects: ObjectOwners | None = None,
    ) -> None:
        def make_key(name: str) -> ApiKey:
            return SharedApiKey(name, counts)

        keys = ApiKeys(Path(settings.keys_file), make_key) if settings.keys_file else None
        super().__init__(settings, keys=keys, hosts=hosts, objects=objects)
        self._on_urgent = on_urgent
        self.unsent = Unsent(on_urgent)
        self.event_reporter = ReportedEvents(settings.port, self.unsent)
        self.poison = self.reported_poison = ReportedPoison(settings.poison_timeout, self.unsent, synchronize)
        self.buffers = SharedBodyBuffers(settings.max_buffered, self.max_body, counts)
        self.relay_statistics = self.statistics = RelayStatistics()
        self.relay_balancer = self.balancer = RelayBalancer(
            settings, self.clock, self.health, self.statistics, counts, self.unsent.observe
        )
        self.users = counts.users
        self.users.slot = self._slot = counts.slot
        self._keys_number = 0  # the number of the API keys that are in use (Snapshot.keys_number)
        self._sync = 0  # the number of the last Sync that was received
        self._reported_retries = 0
        self._reported_idle_connections = 0
        self._reported_handovers: dict[tuple[str, str], int] = {}

    def adopt(self, snapshot: Snapshot) -> None:
        """Use what the control process has decided. A control process without a table yet changes nothing."""
        if self.ready and not snapshot.ready:
            return
        if self.keys is not None and snapshot.keys_number not in (0, self._keys_number):
            self._keys_number = snapshot.keys_number
            self.keys.replace(decode(snapshot.keys, KeyEntries))
        if snapshot.poisoned:
            self.reported_poison.merge(snapshot.poisoned)
        self.relay_statistics.retry_after_seconds = snapshot.retry_after
        self.relay_balancer.adopt(snapshot)
        self.ready = snapshot.ready

    def report_at_once(self, sync: int) -> None:
        """Make the next report answer a Sync of the control process, even if there is nothing new."""
        self._sync = sync
        self._on_urgent()

    def take_report(self) -> WorkerReport | None:
        """Return what was observed and counted since the last call; None if there is nothing new."""
        unsent, balancer, statistics = self.unsent, self.balancer, self.statistics.take()
        idle_connections = self.upstream_pool.idle_count()
        unlisted, retries = balancer.unlisted_model_requested, balancer.retries
        usage = self.usage.take() if self.usage is not None else []
        news = self._sync or unsent or statistics is not None or usage or self.poison_counts or unlisted
        unchanged = (self._reported_retries, self._reported_idle_connections, self._reported_handovers)
        if not news and (retries, idle_connections, self.handovers) == unchanged:
            return None
        report = WorkerReport(
            slot=self._slot,
            sync=self._sync,
            observations=unsent.observations,
            events=unsent.events,
            poisoned=unsent.poisoned,
            poison_counts=dict(self.poison_counts),
            retries=retries - self._reported_retries,
            unlisted_model_requested=unlisted,
            statistics=statistics,
            usage=usage,
            idle_connections=idle_connections,
            handovers=[(instance, reason, count) for (instance, reason), count in self.handovers.items()],
        )
        unsent.observations, unsent.events, unsent.poisoned, self._sync = [], [], [], 0
        self.poison_counts.clear()
        self._reported_retries, self._reported_idle_connections = retries, idle_connections
        self._reported_handovers = self.handovers
        balancer.unlisted_model_requested = False
        return report
