from types import SimpleNamespace

import pytest
from supervisor.socket_manager import SocketManager

from svc.supervision.sockets import Sockets


class Address:
    """What SocketManager opens: remembers whether it is open."""

    url = "tcp://127.0.0.1:0"
    open = False

    def create_and_bind(self):
        self.open = True
        return self

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
    return Sockets(grace=3)


def test_an_exit_does_not_close_it(sockets, group, address):
    process = group.socket_manager.get_socket()
    sockets.started(group)
    del process
    assert address.open


def test_it_goes_shortly_after_a_stop(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.let_go_of_idle(now=102.9)
    assert address.open
    sockets.let_go_of_idle(now=103)
    assert not address.open


def test_a_start_in_time_keeps_it(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.started(group)
    sockets.let_go_of_idle(now=200)
    assert address.open


def test_a_clock_set_back_does_not_hold_it_for_ever(sockets, group, address):
    sockets.started(group)
    sockets.stopped(group, now=100)
    sockets.let_go_of_idle(now=10)
    assert not address.open


def test_a_removed_group_lets_go_at_once(sockets, group, address):
    sockets.started(group)
    sockets.let_go("router")
    sockets.let_go("never heard of")
    assert not address.open


def test_one_reference_is_enough_for_many_starts(sockets, group, address):
    for _ in range(5):
        sockets.started(group)
    assert group.socket_manager.get_socket_ref_count() == 1
    sockets.let_go_of_all()
    assert not address.open


def test_groups_without_a_socket_do_not_matter(sockets):
    group = SimpleNamespace(config=SimpleNamespace(name="qwen"))
    sockets.started(group)
    sockets.stopped(group, now=1)
    sockets.let_go_of_idle(now=9)
