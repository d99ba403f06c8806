import os
import socket
from collections.abc import Iterator

import pytest

from svc.base.errors import Unavailable
from svc.router.workers import channel_listener
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.channel_listener import ChannelListener

MANY = 1000  # more than the kernel keeps in a socket's queue


@pytest.fixture
def listener() -> Iterator[ChannelListener]:
    listener = ChannelListener()
    yield listener
    listener.close()


def test_a_channel_connects_the_two_processes_for_its_purpose(listener: ChannelListener):
    own = Channel(listener.connect("updates"))
    purpose, sock = listener.accept()
    other = Channel(sock)
    own.send("question")
    other.send(other.receive(str) + ", answer")
    assert (purpose, own.receive(str)) == ("updates", "question, answer")
    own.close()
    with pytest.raises(ChannelClosed):
        other.receive(str)
    other.close()


def test_channels_wait_for_the_next_control_process_with_what_was_sent(listener: ChannelListener):
    channels = [Channel(listener.connect(purpose)) for purpose in ("request", "sync")]
    for number, channel in enumerate(channels):
        channel.send(number)
    for number, purpose in enumerate(("request", "sync")):
        accepted, sock = listener.accept()
        other = Channel(sock)
        assert (accepted, other.receive(int)) == (purpose, number)
        other.close()
        channels[number].close()


def test_a_door_at_which_too_many_wait_opens_no_channel(listener: ChannelListener, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channel_listener, "CONNECT_TIMEOUT_SECONDS", 0.05)
    waiting: list[socket.socket] = []

    def open_many() -> None:
        while len(waiting) < MANY:
            waiting.append(listener.connect("request"))

    with pytest.raises(Unavailable, match="control process does not answer; try again"):
        open_many()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Unavailable):
        open_many()
    assert len(os.listdir("/proc/self/fd")) == before, "a refused channel is closed"
    listener.accept()[1].close()
    waiting.append(listener.connect("request"))
    for channel in waiting:
        channel.close()
