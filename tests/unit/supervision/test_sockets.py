from types import SimpleNamespace

import pytest
from supervisor.socket_manager import SocketManager

from svc.supervision.sockets import Sockets


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
def sockets():
    return Sockets(grace_seconds=3)


def test_an_exit_does_not_close_it(sockets, group, address):
    process = group.socket_manager.get_socket()
    sockets.started(group)
    del process
    assert address.open


def test_it_goes_shortly_after_a_stop(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.release_idle(now=102.9)
    assert address.open
    sockets.release_idle(now=103)
    assert not address.open


def test_a_start_in_time_keeps_it(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.started(group)
    sockets.release_idle(now=200)
    assert address.open


def test_a_clock_set_back_does_not_hold_it_for_ever(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.release_idle(now=10)
    assert not address.open


def test_a_removed_group_lets_go_at_once(sockets, group, address):
    sockets.started(group)
    sockets.removed("router", None, now=100)
    sockets.removed("never heard of", None, now=100)
    assert not address.open


def test_a_group_that_takes_its_place_gets_its_socket(sockets, group, address):
    sockets.started(group)
    coming = Address()
    sockets.removed("router", coming, now=100)
    new = SimpleNamespace(config=SimpleNamespace(name="router"), socket_manager=SocketManager(coming))
    new.socket_manager.get_socket()  # supervisord tries it, and lets it go
    assert address.open
    sockets.added(new)
    assert new.socket_manager.socket.took_over
    assert not address.open, "the old descriptor is closed once the new one is held"
    sockets.release("router")
    new.socket_manager.get_socket()
    assert not new.socket_manager.socket.took_over, "later it binds as ever"


def test_one_that_takes_its_place_at_another_address_does_not(sockets, group, address):
    sockets.started(group)
    coming = Address()
    coming.url = "tcp://127.0.0.1:1"
    sockets.removed("router", coming, now=100)
    assert not address.open
    assert not coming.create_and_bind().took_over


def test_what_waits_for_a_group_that_does_not_come_goes(sockets, group, address):
    sockets.started(group)
    sockets.removed("router", Address(), now=100)
    assert address.open
    sockets.release_idle(now=103)
    assert not address.open


def test_one_reference_is_enough_for_many_starts(sockets, group, address):
    for _ in range(5):
        sockets.started(group)
    assert group.socket_manager.get_socket_ref_count() == 1
    sockets.release_all()
    assert not address.open


def test_groups_without_a_socket_do_not_matter(sockets):
    group = SimpleNamespace(config=SimpleNamespace(name="qwen"))
    sockets.started(group)
    sockets.stopped(group, now=1)
    sockets.release_idle(now=9)
