"""TLS on both sides of a router with several processes, while they are killed and replaced."""

import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.integration.router.certificates import Certificate, make_certificate
from tests.integration.router.client import post
from tests.integration.router.routers import Router, service, static
from tests.integration.router.secure_routers import Secure, secure, serving
from tests.integration.router.workers.processes import control_process, kill, relaying_processes
from tests.waiting import wait_until

WORKERS = 3
ASK = post({"model": "m"})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "router")


@pytest.fixture
def own(tmp_path: Path, pair: Certificate) -> Iterator[Router]:
    """Return a router whose clients and whose instance use TLS."""
    instance = Secure(pair)
    path = static(
        tmp_path / "static.json", [service("a", instance.port, "m", url=f"https://127.0.0.1:{instance.port}")]
    )
    flags = ("--workers", WORKERS, "--health-interval", 600, "--upstream-ca", pair.cert)
    with serving(pair, path, *flags) as own:
        yield own
        own.assert_no_exception()
    instance.close()


class Clients:
    """Clients that ask on a new connection each time, until the block ends."""

    def __init__(self, own: Router, pair: Certificate, count: int = 4) -> None:
        self.answered, self.lost = 0, 0
        self.statuses: set[int] = set()
        self._own, self._pair, self._ends = own, pair, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        while not self._ends.is_set():
            try:
                with secure(self._own, self._pair) as client:
                    self.statuses.add(client.send(ASK).answer().status)
                    self.answered += 1
            except (OSError, AssertionError):
                self.lost += 1

    def wait_for_more(self) -> None:
        before = self.answered
        wait_until(lambda: self.answered > before + 20, timeout=30, description="answers")


def test_requests_over_tls_pass_while_all_processes_are_replaced(own: Router, pair: Certificate):
    before = set(own.processes())
    with Clients(own, pair) as clients:
        clients.wait_for_more()
        own.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(own.processes()), timeout=60, description="new processes")
        clients.wait_for_more()
    assert (clients.statuses, clients.lost) == ({200}, 0)


def test_killed_processes_lose_their_own_tls_connections_only(own: Router, pair: Certificate):
    with Clients(own, pair) as clients:
        clients.wait_for_more()
        kill(own, control_process(own))
        clients.wait_for_more()
        assert clients.lost == 0
        kill(own, relaying_processes(own)[0])
        clients.wait_for_more()
    assert clients.statuses == {200}
    assert clients.lost <= 4, "a connection of each client"


def test_clients_that_do_not_finish_their_handshake_keep_no_process_busy(own: Router, pair: Certificate):
    hello = ssl.MemoryBIO()
    beginning = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        beginning.do_handshake()
    first_bytes = hello.read()
    with ExitStack() as stack:
        for sent in [b"", first_bytes[:100], first_bytes, os.urandom(300), b"GET / HTTP/1.1\r\n\r\n"] * 20:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", own.port), 10))
            sock.sendall(sent)
        with Clients(own, pair) as clients:
            clients.wait_for_more()
        assert (clients.statuses, clients.lost) == ({200}, 0)
