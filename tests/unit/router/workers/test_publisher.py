import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from svc.router.workers import publisher as publisher_module
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.control_state import ControlState
from svc.router.workers.messages import Evidence, Observation, PublishedTable, Snapshot, Sync, WorkerReport, decode
from svc.router.workers.publisher import REPUBLISH_SECONDS, Publisher, Recipient
from svc.router.workers.shared_counts import SharedCounts
from svc.settings import RouterSettings
from tests.unit.router.examples import Clock, target

LONG = 30.0  # seconds, for what comes at once


class Process:
    """A process that relays: the recipient of snapshots, and the process's own end of its channel."""

    def __init__(self, publisher: Publisher, starts: bool = True) -> None:
        control, own = socket.socketpair()
        self.channel, self._publisher = Channel(own), publisher
        self.recipient = Recipient(Channel(control))
        publisher.recipients.add(self.recipient)
        if starts:
            self.start()

    def start(self) -> None:
        threading.Thread(target=self._send_all, daemon=True).start()

    def _send_all(self) -> None:
        with suppress(ChannelClosed):
            self._publisher.send_all(self.recipient)

    def receive(self) -> Snapshot | Sync:
        return self.channel.receive(Snapshot | Sync, LONG)

    def receive_table(self) -> set[str]:
        """Receive a snapshot; return the names of the instances that get requests."""
        message = self.receive()
        assert isinstance(message, Snapshot)
        return set(decode(message.table, PublishedTable).usable)

    def receive_sync(self) -> int:
        message = self.receive()
        assert isinstance(message, Sync)
        return message.number

    def close(self) -> None:
        self.channel.close()
        self.recipient.channel.close()
        self.recipient.wake.set()


class Synchronizing:
    """A call of `synchronize`, in a thread of its own."""

    def __init__(self, publisher: Publisher) -> None:
        self._thread = threading.Thread(target=publisher.synchronize, daemon=True)
        self._thread.start()

    @property
    def has_returned(self) -> bool:
        return not self._thread.is_alive()

    def returns(self) -> bool:
        self._thread.join(LONG)
        return self.has_returned


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine end the wait for a process that reports."""
    monkeypatch.setattr(publisher_module, "SYNC_TIMEOUT_SECONDS", LONG)


@pytest.fixture
def state() -> ControlState:
    state = ControlState(RouterSettings(max_errors=1), Clock(), counts=SharedCounts(3))
    state.replace_targets([target("a", "m"), target("b", "m")])
    return state


@pytest.fixture
def publisher(state: ControlState) -> Publisher:
    return Publisher(state)


@pytest.fixture
def start(publisher: Publisher) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(starts: bool = True) -> Process:
        started.append(Process(publisher, starts))
        return started[-1]

    yield start
    for process in started:
        process.close()


def fail(state: ControlState, name: str) -> None:
    state.record(WorkerReport(slot=1, observations=[Observation(Evidence.FAILURE, name, "reset")]), set())


def test_each_change_is_sent_to_every_process_once(state, publisher, start):
    first, second = start(), start()
    publisher.run_round()
    publisher.run_round()
    assert first.receive_table() == second.receive_table() == {"a", "b"}
    fail(state, "a")
    publisher.run_round()
    publisher.run_round()
    assert first.receive_table() == second.receive_table() == {"b"}
    synchronizing = Synchronizing(publisher)
    for process in (first, second):
        process.recipient.acknowledge(process.receive_sync())  # nothing was sent twice
    assert synchronizing.returns()


def test_a_process_that_starts_gets_the_newest_snapshot(publisher, start):
    publisher.run_round()
    assert start().receive_table() == {"a", "b"}


def test_a_process_that_was_slow_gets_the_newest_snapshot_only(state, publisher, start):
    slow = start(starts=False)
    publisher.run_round()
    fail(state, "a")
    publisher.run_round()
    slow.start()
    assert slow.receive_table() == {"b"}
    synchronizing = Synchronizing(publisher)
    slow.recipient.acknowledge(slow.receive_sync())
    assert synchronizing.returns()


def test_a_first_table_is_published_without_a_change_of_the_balancer(state, publisher, start):
    process = start()
    publisher.run_round()
    assert not process.receive().ready
    state.ready = True
    publisher.run_round()
    assert process.receive().ready


def test_what_no_change_announces_is_sent_within_seconds(state, publisher, start):
    process = start()
    publisher.run_round()
    assert process.receive().retry_after == 1
    state.statistics.instances["a"].requests, state.statistics.instances["a"].seconds = 1, 20.0
    state.clock.now += REPUBLISH_SECONDS
    publisher.run_round()
    assert process.receive().retry_after == 20


def test_synchronize_waits_for_each_process(publisher, start):
    processes = [start() for _ in range(3)]
    publisher.run_round()
    synchronizing = Synchronizing(publisher)
    for process in processes:
        process.receive_table()
        number = process.receive_sync()
        process.recipient.acknowledge(number - 1)  # of an earlier one
        assert not synchronizing.has_returned
        process.recipient.acknowledge(number)
    assert synchronizing.returns()


def test_a_change_is_in_use_at_every_process_before_synchronize_returns(state, publisher, start):
    process = start()
    publisher.run_round()
    process.receive_table()
    fail(state, "a")
    synchronizing = Synchronizing(publisher)
    assert process.receive_table() == {"b"}
    process.recipient.acknowledge(process.receive_sync())
    assert synchronizing.returns()


@pytest.mark.parametrize("published_already", [False, True])
def test_a_change_that_a_process_reports_meanwhile_is_waited_for_too(state, publisher, start, published_already):
    """The other process has answered before the change, and does not use it yet."""
    reporting, other = start(), start()
    publisher.run_round()
    synchronizing = Synchronizing(publisher)
    numbers = []
    for process in (reporting, other):
        process.receive_table()
        numbers.append(process.receive_sync())
    other.recipient.acknowledge(numbers[1])
    fail(state, "a")
    if published_already:
        publisher.run_round()
    reporting.recipient.acknowledge(numbers[0])
    for process in (reporting, other):
        assert process.receive_table() == {"b"}
        assert not synchronizing.has_returned
        process.recipient.acknowledge(process.receive_sync())
    assert synchronizing.returns()


def test_a_usual_report_after_the_answer_does_not_take_it_back(start):
    recipient = start(starts=False).recipient
    recipient.acknowledge(7)
    recipient.acknowledge(0)
    began = time.monotonic()
    recipient.wait(7, LONG)
    assert time.monotonic() - began < LONG


def test_a_process_that_ends_is_not_waited_for(publisher, start):
    process = start()
    publisher.run_round()
    synchronizing = Synchronizing(publisher)
    process.receive_table()
    process.receive_sync()
    process.recipient.end()
    assert synchronizing.returns()


def test_processes_that_do_not_react_delay_an_answer_together(publisher, start, monkeypatch):
    monkeypatch.setattr(publisher_module, "SYNC_TIMEOUT_SECONDS", 0.2)
    for _ in range(30):
        start(starts=False)
    publisher.run_round()
    began = time.monotonic()
    publisher.synchronize()
    assert 0.2 <= time.monotonic() - began < 30 * 0.2


def test_an_answer_to_an_earlier_control_process_is_no_answer_to_this_one(state, publisher, start):
    process = start()
    publisher.run_round()
    process.receive_table()
    synchronizing = Synchronizing(publisher)
    number = process.receive_sync()
    process.recipient.acknowledge(number)
    assert synchronizing.returns()
    following = Publisher(state)
    other = Process(following)
    following.run_round()
    other.recipient.acknowledge(number)  # it could not be sent to the earlier one
    synchronizing = Synchronizing(following)
    other.receive_table()
    next_number = other.receive_sync()
    assert not synchronizing.has_returned
    other.recipient.acknowledge(next_number)
    assert synchronizing.returns()
    other.close()
