import os
import socket
from collections.abc import Iterator

import pytest

from svc.base.errors import Unavailable
from svc.router.workers import door as door_module
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.door import Door

MANY = 1000  # more than the kernel keeps in a socket's queue


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def test_a_channel_connects_the_two_processes_for_its_purpose(door: Door):
    own = Channel(door.open("updates"))
    purpose, sock = door.accept()
    other = Channel(sock)
    own.send("question")
    other.send(other.receive(str) + ", answer")
    assert (purpose, own.receive(str)) == ("updates", "question, answer")
    own.close()
    with pytest.raises(ChannelClosed):
        other.receive(str)
    other.close()


def test_channels_wait_for_the_next_control_process_with_what_was_sent(door: Door):
    channels = [Channel(door.open(purpose)) for purpose in ("request", "sync")]
    for number, channel in enumerate(channels):
        channel.send(number)
    for number, purpose in enumerate(("request", "sync")):
        accepted, sock = door.accept()
        other = Channel(sock)
        assert (accepted, other.receive(int)) == (purpose, number)
        other.close()
        channels[number].close()


def test_a_door_at_which_too_many_wait_opens_no_channel(door: Door, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door_module, "OPEN_TIMEOUT_SECONDS", 0.05)
    waiting: list[socket.socket] = []

    def open_many() -> None:
        while len(waiting) < MANY:
            waiting.append(door.open("request"))

    with pytest.raises(Unavailable, match="control process does not answer; try again"):
        open_many()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Unavailable):
        open_many()
    assert len(os.listdir("/proc/self/fd")) == before, "a refused channel is closed"
    door.accept()[1].close()
    waiting.append(door.open("request"))
    for channel in waiting:
        channel.close()
