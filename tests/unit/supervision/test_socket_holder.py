from types import SimpleNamespace

import pytest
from supervisor.socket_manager import SocketManager

from svc.supervision.socket_holder import SocketHolder


class Address:
    """What SocketManager opens: remembers whether it is open."""

    url = "tcp://127.0.0.1:0"
    open = False
    took_over = False

    def create_and_bind(self):
        self.open = True
        return self

    def dup(self):
        """Another descriptor of the same socket."""
        copy = Address()
        copy.open = copy.took_over = True
        return copy

    def __eq__(self, other):
        return self.url == other.url

    def get_backlog(self):
        return 1

    def listen(self, backlog):
        pass

    def close(self):
        self.open = False


@pytest.fixture
def address():
    return Address()


@pytest.fixture
def group(address):
    return SimpleNamespace(config=SimpleNamespace(name="router"), socket_manager=SocketManager(address))


@pytest.fixture
def holder():
    return SocketHolder(grace_seconds=3)


def test_an_exit_does_not_close_the_socket(holder, group, address):
    process = group.socket_manager.get_socket()
    holder.started(group)
    del process
    assert address.open


def test_the_socket_is_released_shortly_after_a_stop(holder, group, address):
    holder.started(group)
    holder.stopped(group, now=100)
    holder.release_idle(now=102.9)
    assert address.open
    holder.release_idle(now=103)
    assert not address.open


def test_a_start_within_the_grace_period_keeps_the_socket(holder, group, address):
    holder.started(group)
    holder.stopped(group, now=100)
    holder.started(group)
    holder.release_idle(now=200)
    assert address.open


def test_a_clock_set_back_does_not_hold_it_for_ever(holder, group, address):
    holder.started(group)
    holder.stopped(group, now=100)
    holder.release_idle(now=10)
    assert not address.open


def test_the_socket_of_a_removed_group_is_released_at_once(holder, group, address):
    holder.started(group)
    holder.removed("router", None, now=100)
    holder.removed("never heard of", None, now=100)
    assert not address.open


def test_a_successor_gets_the_socket(holder, group, address):
    holder.started(group)
    successor = Address()
    holder.removed("router", successor, now=100)
    new = SimpleNamespace(config=SimpleNamespace(name="router"), socket_manager=SocketManager(successor))
    new.socket_manager.get_socket()  # supervisord tries it, and lets it go
    assert address.open
    holder.added(new)
    assert new.socket_manager.socket.took_over
    assert not address.open, "the old descriptor is closed once the new one is held"
    holder.release("router")
    new.socket_manager.get_socket()
    assert not new.socket_manager.socket.took_over, "later it binds as ever"


def test_a_successor_at_another_address_does_not_get_the_socket(holder, group, address):
    holder.started(group)
    successor = Address()
    successor.url = "tcp://127.0.0.1:1"
    holder.removed("router", successor, now=100)
    assert not address.open
    assert not successor.create_and_bind().took_over


def test_the_socket_for_a_missing_successor_is_released(holder, group, address):
    holder.started(group)
    holder.removed("router", Address(), now=100)
    assert address.open
    holder.release_idle(now=103)
    assert not address.open


def test_one_reference_is_enough_for_many_starts(holder, group, address):
    for _ in range(5):
        holder.started(group)
    assert group.socket_manager.get_socket_ref_count() == 1
    holder.release_all()
    assert not address.open


def test_groups_without_a_socket_are_ignored(holder):
    group = SimpleNamespace(config=SimpleNamespace(name="qwen"))
    holder.started(group)
    holder.stopped(group, now=1)
    holder.release_idle(now=9)
