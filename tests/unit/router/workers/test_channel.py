import socket
import threading
from collections.abc import Iterator

import pytest

from svc.router.workers import channel as channel_module
from svc.router.workers.channel import LENGTH, MAX_MESSAGE_BYTES, Channel, ChannelClosed
from svc.router.workers.messages import Sync

Ends = tuple[Channel, Channel]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def ends(sockets: tuple[socket.socket, socket.socket]) -> Ends:
    return Channel(sockets[0]), Channel(sockets[1])


def in_background(function, *arguments) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def test_messages_arrive_whole_and_in_order_in_both_directions(ends: Ends):
    own, other = ends
    own.send(Sync(1))
    own.send(b"")
    own.send("x" * 1000)
    other.send(True)
    assert (other.receive(Sync), other.receive(bytes), other.receive(str)) == (Sync(1), b"", "x" * 1000)
    assert own.receive(bool) is True


def test_a_message_that_comes_in_pieces_is_put_together(sockets, ends: Ends):
    raw, channel = sockets[0], ends[1]
    message = b"\xa5hello"
    for byte in LENGTH.pack(len(message)) + message:
        raw.send(bytes([byte]))
    assert channel.receive(str) == "hello"


def test_messages_of_several_senders_do_not_mix(ends: Ends):
    """They are larger than the socket's buffer, so that each is sent in many parts."""
    own, other = ends
    messages = [letter * 3_000_000 for letter in "abcd"]
    senders = [in_background(own.send, message) for message in messages]
    assert sorted(other.receive(str, 10) for _ in messages) == messages
    for sender in senders:
        sender.join()


def test_a_message_in_both_directions_at_once_blocks_neither_end(ends: Ends):
    message = "x" * 3_000_000
    senders = [in_background(end.send, message) for end in ends]
    for end, sender in zip(reversed(ends), senders, strict=True):
        assert end.receive(str, 10) == message
        sender.join()


def test_a_receive_ends_after_its_time_and_the_next_one_gets_the_message(ends: Ends):
    own, other = ends
    with pytest.raises(TimeoutError):
        other.receive(bool, 0.01)
    own.send(True)
    assert other.receive(bool, 10) is True


def test_a_receive_that_ends_within_a_message_loses_nothing_of_it(sockets, ends: Ends):
    message = b"\xa5hello"
    sockets[0].sendall(LENGTH.pack(len(message)) + message[:3])
    with pytest.raises(TimeoutError):
        ends[1].receive(str, 0.01)
    sockets[0].sendall(message[3:])
    assert ends[1].receive(str, 10) == "hello"


def test_the_time_limit_of_a_receive_does_not_end_a_later_send(ends: Ends):
    own, other = ends
    with pytest.raises(TimeoutError):
        own.receive(bool, 0.0001)
    message = "x" * 30_000_000
    sender = in_background(own.send, message)
    assert other.receive(str, 10) == message
    sender.join()


def test_the_end_of_the_other_process_closes_the_channel(ends: Ends):
    own, other = ends
    own.send(b"last")
    own.close()
    assert other.receive(bytes) == b"last"
    with pytest.raises(ChannelClosed):
        other.receive(bytes)
    with pytest.raises(ChannelClosed):
        other.send(b"more")


def test_a_process_that_ends_within_a_message_closes_the_channel(sockets, ends: Ends):
    sockets[0].sendall(LENGTH.pack(10) + b"half")
    ends[0].close()
    with pytest.raises(ChannelClosed):
        ends[1].receive(bytes)


def test_a_length_that_no_message_has_closes_the_channel(sockets, ends: Ends):
    sockets[0].sendall(LENGTH.pack(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ChannelClosed):
        ends[1].receive(bytes, 10)


def test_a_process_that_reads_nothing_loses_its_channel(ends: Ends, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channel_module, "SEND_TIMEOUT_SECONDS", 0.05)
    own, other = (Channel(sock) for sock in socket.socketpair())
    with pytest.raises(ChannelClosed):
        own.send(b"x" * 10_000_000)
    with pytest.raises(ChannelClosed):
        own.send(b"")
    with pytest.raises(ChannelClosed):
        other.receive(bytes, 10)
    other.close()


def test_closing_ends_a_receive_that_waits(ends: Ends):
    own, _ = ends
    errors: list[BaseException] = []
    waits = threading.Event()

    def receive() -> None:
        waits.set()
        try:
            own.receive(bytes)
        except ChannelClosed as error:
            errors.append(error)

    receiver = in_background(receive)
    waits.wait()
    own.close()
    receiver.join(10)
    assert len(errors) == 1


def test_a_closed_channel_can_be_closed_again_and_used_by_nobody(ends: Ends):
    own, _ = ends
    own.close()
    own.close()
    with pytest.raises(ChannelClosed):
        own.receive(bytes)
    with pytest.raises(ChannelClosed):
        own.send(b"")
