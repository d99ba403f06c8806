"""A real router between clients and an instance that do whatever they like: it goes on serving, and nothing is left."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.router.client import Client, post
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.messages import broken, broken_answers, framed_answers, sound_answers, sound_requests, split
from tests.waiting import wait_until

few = settings(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
many = settings(few, max_examples=3000)
TIMEOUT_SECONDS = 15  # seconds after which a connection hangs
ASK = post({"model": "m"})

leaving = st.sampled_from(["waits", "waits", "half-closes", "closes", "resets"])
clients = st.lists(st.tuples(split(broken | sound_requests().map(lambda r: r[0])), leaving), min_size=1, max_size=4)
extra = st.sampled_from([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"0\r\n\r\n", b"x", b"HTTP/1.1 "])
endings = st.tuples(framed_answers(), st.integers(0, 5000) | extra | st.none())  # cut there, with more after it, whole
answers = st.lists(split(broken_answers() | sound_answers()), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


@pytest.fixture(scope="module")
def own(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    path = static(tmp_path_factory.mktemp("fuzz") / "static.json", [service("m", instance.port, "m")])
    with router(
        "--static-services", path, "--max-errors", 100_000, "--queue-timeout", 1, "--max-body", 4096
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def whole(own: Router, instance: Instance) -> Iterator[None]:
    """After all that, the router serves as if nothing had been."""
    instance.play()
    worker, before = own.worker(), descriptors(own)
    yield
    instance.play()
    wait_until(lambda: own.in_flight() == 0, description="the counts to be released")
    with own.client() as client:
        for _ in range(3):
            assert client.send(ASK).answer().body == b"ok"
    wait_until(lambda: descriptors(own) <= before + 8, description="connections to be closed")
    assert own.worker() == worker
    assert "Traceback" not in own.output()
    assert "a connection failed" not in own.output()


def descriptors(own: Router) -> int:
    return len(list(Path(f"/proc/{own.worker()}/fd").iterdir()))


def pour(sock: socket.socket, parts: list[bytes]) -> None:
    with suppress(OSError):  # told to go away before all was said
        for part in parts:
            sock.sendall(part)


def speak(own: Router, parts: list[bytes], leaves: str) -> bytes:
    """All that the router says to a client that sends this and then leaves, or ends its side and listens."""
    with Client(own.port) as client:
        client.sock.settimeout(TIMEOUT_SECONDS)
        pour(client.sock, parts)
        if leaves == "resets":
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if leaves in ("resets", "closes"):
            return b""
        if leaves == "half-closes":
            with suppress(OSError):
                client.sock.shutdown(socket.SHUT_WR)
        else:
            pour(client.sock, [b"\r\n\r\n" + b"x" * 9000])  # it ends whatever was begun, and is a request to nobody
        received = b""
        with suppress(ConnectionError):  # a timeout is none: it fails the test
            while data := client.sock.recv(65536):
                received += data
        return received


def assert_clients_may_do_what_they_like(own: Router, drawn: list[tuple[tuple[bytes, list[bytes]], str]]) -> None:
    for (_, parts), leaves in drawn:
        received = speak(own, parts, leaves)
        assert not received or received.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in received.partition(b"\r\n")[0]


def assert_instances_may_do_what_they_like(
    own: Router, instance: Instance, drawn: list[tuple[bytes, list[bytes]]]
) -> None:
    """What a client gets is one whole answer, or one that is seen to be cut: never a hang, never two."""
    told = iter(drawn)

    def script(peer: Peer, received: ReceivedRequest) -> bool:
        for part in next(told, (b"", []))[1]:
            peer.send(part)
        return False

    instance.play(script)
    for _ in drawn:
        with Client(own.port) as client:
            client.sock.settimeout(TIMEOUT_SECONDS)
            client.send(ASK.replace(b"Host:", b"Connection: close\r\nHost:"))
            read_whole_or_cut(client)


def assert_each_gets_its_own_answer(
    own: Router, instance: Instance, drawn: list[tuple[tuple[bytes, bytes], int | bytes | None]]
) -> None:
    """On connections that are used again where they can be: nothing of one answer is read as another."""

    def script(peer: Peer, received: ReceivedRequest) -> bool:
        (data, _), ending = drawn[int(received.header(b"x-turn") or 0)]
        peer.send(data[: ending % len(data)] if isinstance(ending, int) else data + (ending or b""))
        return not isinstance(ending, int)

    instance.play(script)
    with Client(own.port) as client:
        for turn, ((_, body), ending) in enumerate(drawn):
            client.send(post({"model": "m"}, b"X-Turn: %d" % turn))
            if isinstance(ending, int):
                break
            assert client.answer().body == body
        else:
            return
        try:
            assert client.answer().status == 502
        except AssertionError as error:
            if "the connection ended" not in str(error):
                raise


def read_whole_or_cut(client: Client) -> None:
    try:
        answer = client.answer()
    except ConnectionError:
        return
    except AssertionError as error:
        if "the connection ended" in str(error):
            return
        raise
    assert answer.status >= 200
    assert client.ended()


@few
@given(clients)
def test_clients_may_do_what_they_like(own: Router, drawn: list[tuple[tuple[bytes, list[bytes]], str]]):
    assert_clients_may_do_what_they_like(own, drawn)


@few
@given(answers)
def test_instances_may_do_what_they_like(own: Router, instance: Instance, drawn: list[tuple[bytes, list[bytes]]]):
    assert_instances_may_do_what_they_like(own, instance, drawn)


@few
@given(st.lists(endings, min_size=1, max_size=6))
def test_each_client_gets_its_own_answer(
    own: Router, instance: Instance, drawn: list[tuple[tuple[bytes, bytes], int | bytes | None]]
):
    assert_each_gets_its_own_answer(own, instance, drawn)


@pytest.mark.long
@pytest.mark.timeout(900)
@many
@given(clients)
def test_thousands_of_clients(own: Router, drawn: list[tuple[tuple[bytes, list[bytes]], str]]):
    assert_clients_may_do_what_they_like(own, drawn)


@pytest.mark.long
@pytest.mark.timeout(900)
@many
@given(answers)
def test_thousands_of_answers(own: Router, instance: Instance, drawn: list[tuple[bytes, list[bytes]]]):
    assert_instances_may_do_what_they_like(own, instance, drawn)


@pytest.mark.long
@pytest.mark.timeout(900)
@many
@given(st.lists(endings, min_size=1, max_size=6))
def test_thousands_of_own_answers(
    own: Router, instance: Instance, drawn: list[tuple[tuple[bytes, bytes], int | bytes | None]]
):
    assert_each_gets_its_own_answer(own, instance, drawn)
