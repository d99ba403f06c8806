"""How soon every process uses what the control process has decided.

The publisher's own waits are counted on a clock of the test. That a published decision is in use without another wait
is measured with real channels and loops: a busy machine delays a single decision by any time, so each test decides many
times, and the best time must keep the promise.
"""

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from svc.config.router_key_entry import KeyEntry
from svc.perimeter.hosts import Hosts
from svc.router.balance.ejection import CHECKS_UNTIL_HEALTHY
from svc.router.balance.target import Target
from svc.router.proxy.api_keys import ApiKeys
from svc.router.workers import control_state
from svc.router.workers import publisher as publisher_module
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.channel_listener import ChannelListener
from svc.router.workers.control_state import ControlState
from svc.router.workers.messages import Evidence, Observation, Snapshot
from svc.router.workers.publisher import Publisher, Recipient
from svc.router.workers.relay_process import ControlLink
from svc.router.workers.relay_state import RelayState
from svc.router.workers.shared_counts import SharedCounts
from svc.settings import RouterSettings
from tests.unit.router.examples import target
from tests.unit.router.workers.examples import process

PROMISED_SECONDS = 0.05
ROUNDS = 20
LONG = 30.0  # seconds, for what comes at once
A, B = target("a", "m"), target("b", "m")
KEYS = {"key": KeyEntry("0" * 64, datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))}
SETTINGS = RouterSettings(max_errors=1, keys_file="keys.toml")


class PublisherClock(threading.Event):
    """A clock that only the publisher's waits move on, in place of the event with which changes are announced."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.decision_at = 0.0
        self.decide: Callable[[], object] | None = None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.decide is not None and self.now >= self.decision_at:
            decide, self.decide = self.decide, None
            decide()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the event is set, but not longer than so many seconds."""
        end = self.now + (seconds or 0)
        if not self.is_set() and self.decide is not None and self.now <= self.decision_at <= end:
            self.sleep(self.decision_at - self.now)
        if not self.is_set():
            self.sleep(end - self.now)
        return self.is_set()


def noting(compose: Callable[[], Snapshot], snapshots: list[Snapshot]) -> Callable[[], Snapshot]:
    def compose_and_note() -> Snapshot:
        snapshots.append(compose())
        return snapshots[-1]

    return compose_and_note


def longest_wait(decide: Callable[[ControlState], object], monkeypatch: pytest.MonkeyPatch) -> float:
    """Decide at each millisecond after a publication; return the longest time until the decision is published."""
    waits = []
    for milliseconds in range(1, 100):
        clock, snapshots = PublisherClock(), list[Snapshot]()
        monkeypatch.setattr(control_state.threading, "Event", lambda clock=clock: clock)
        control = ControlState(SETTINGS, clock, ApiKeys(Path("keys.toml")), counts=SharedCounts(3))
        monkeypatch.undo()
        control.replace_targets([A, B])
        monkeypatch.setattr(control, "snapshot", noting(control.snapshot, snapshots))
        monkeypatch.setattr(publisher_module.time, "sleep", clock.sleep)
        publisher = Publisher(control)
        publisher.run_round()
        clock.decision_at, clock.decide = clock.now + milliseconds / 1000, lambda control=control: decide(control)
        while len(snapshots) < 2:
            publisher.run_round()
        waits.append(clock.now - clock.decision_at)
        monkeypatch.undo()
    return max(waits)


def test_an_ejection_is_published_within_the_promised_time(monkeypatch: pytest.MonkeyPatch):
    failure = Observation(Evidence.FAILURE, "a", "reset")
    assert 0 < longest_wait(lambda control: control.control.observe(failure), monkeypatch) <= PROMISED_SECONDS


def test_keys_are_published_within_the_promised_time(monkeypatch: pytest.MonkeyPatch):
    assert 0 < longest_wait(lambda control: control.keys.replace(KEYS), monkeypatch) <= PROMISED_SECONDS


class RelayingProcess:
    """A process that relays. It notes when it uses what the test waits for."""

    def __init__(self, counts: SharedCounts, slot: int, listener: ChannelListener) -> None:
        self._link = ControlLink(listener)
        own = process(counts, slot)
        self.state = RelayState(SETTINGS, Hosts(), own, self._link.wake, self._link.synchronize)
        self._adopt, self.state.adopt = self.state.adopt, self._note_adoption
        self._condition: Callable[[RelayState], bool] = lambda state: False
        self._met, self._met_at = threading.Event(), 0.0
        self._link.start(self.state)

    def _note_adoption(self, snapshot: Snapshot) -> None:
        self._adopt(snapshot)
        if self._condition(self.state) and not self._met.is_set():
            self._met_at = time.monotonic()
            self._met.set()

    def expect(self, condition: Callable[[RelayState], bool]) -> None:
        self._met.clear()
        self._condition = condition

    def time_of_use(self) -> float:
        assert self._met.wait(LONG)
        return self._met_at

    def stop(self) -> None:
        self._link.stop()


class Router:
    """A control process, and two processes that relay."""

    def __init__(self) -> None:
        counts, self._listener = SharedCounts(3), ChannelListener()
        self.control = ControlState(SETTINGS, time.monotonic, ApiKeys(Path("keys.toml")), counts=counts)
        self.replace(A, B)
        self._publisher, self._ends = Publisher(self.control), False
        self.relaying = [RelayingProcess(counts, slot, self._listener) for slot in (1, 2)]
        for _ in self.relaying:
            recipient = Recipient(Channel(self._listener.accept()[1]))
            self._publisher.recipients.add(recipient)
            threading.Thread(target=self._send_all, args=(recipient,), daemon=True).start()
        self._publishing = threading.Thread(target=self._publish)
        self._publishing.start()

    def _send_all(self, recipient: Recipient) -> None:
        with suppress(ChannelClosed):
            self._publisher.send_all(recipient)

    def _publish(self) -> None:
        while not self._ends:
            self._publisher.run_round()

    def replace(self, *targets: Target) -> None:
        self.control.replace_targets(targets)
        self.control.ready = True

    def best_time(self, decide: Callable[[bool], object], is_used: Callable[[RelayState], bool]) -> float:
        """Decide ROUNDS times, in turn one way and the other; return the shortest time until all processes use it.

        `is_used`: whether a process uses the decision that `decide(True)` makes.
        """
        times = []
        for number in range(ROUNDS):
            way = number % 2 == 0
            for own in self.relaying:
                own.expect(lambda state, way=way: is_used(state) == way)
            decided = time.monotonic()
            decide(way)
            times.append(max(own.time_of_use() for own in self.relaying) - decided)
        return min(times)

    def stop(self) -> None:
        self._ends = True
        self._publishing.join()
        for own in self.relaying:
            own.stop()


@pytest.fixture
def router() -> Iterator[Router]:
    router = Router()
    yield router
    router.stop()


def leaves_a_out(state: RelayState) -> bool:
    return "a" not in state.balancer.table.candidates


def test_an_ejection_is_in_use_everywhere_within_the_promised_time(router: Router):
    def decide(ejected: bool) -> None:
        if ejected:
            router.control.control.observe(Observation(Evidence.FAILURE, "a", "reset"))
        else:
            router.control.health.by_instance.clear()
            router.replace(A, B)

    assert router.best_time(decide, leaves_a_out) <= PROMISED_SECONDS


def test_a_health_check_is_in_use_everywhere_within_the_promised_time(router: Router):
    def decide(failed: bool) -> None:
        for _ in range(1 if failed else CHECKS_UNTIL_HEALTHY):
            router.control.balancer.record_check("a", passed=not failed)

    assert router.best_time(decide, leaves_a_out) <= PROMISED_SECONDS


def test_a_new_table_is_in_use_everywhere_within_the_promised_time(router: Router):
    def decide(drained: bool) -> None:
        router.replace(target("a", "m", drained=drained), B)

    assert router.best_time(decide, leaves_a_out) <= PROMISED_SECONDS


def test_new_keys_are_in_use_everywhere_within_the_promised_time(router: Router):
    def decide(present: bool) -> None:
        router.control.keys.replace(KEYS if present else {})

    assert router.best_time(decide, lambda state: len(state.keys) == 1) <= PROMISED_SECONDS
