"""What is left after many requests: nothing."""

import threading

from tests.integration.router.client import post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance
from tests.integration.router.process_usage import descriptor_count, private_memory_kb
from tests.integration.router.routers import WORKERS, Router
from tests.waiting import wait_until

KINDS = (
    post({"model": "a"}),
    post({"model": "a", "stream": True}),
    post({"model": "nobody"}),
    post({"model": "dead"}),
    b"GET /services HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
)


GARBAGE = b"POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n1e8480\r\n" + b"x" * 2_000_000 + b"garbage"


def _requests(relay: Router, count: int) -> None:
    """On new connections, of every kind in turn, four side by side."""

    def work(first: int) -> None:
        for n in range(first, count, 4):
            with relay.client() as client:
                client.send(KINDS[n % len(KINDS)]).answer()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_requests_leave_no_count_no_connection_and_no_memory(relay: Router, a: Instance):
    def script(peer, received) -> bool | None:
        if b"stream" not in received.body:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return None
        peer.send(CHUNKED + chunk(b"data: 1\n\nda"))
        return False

    a.play(script)
    _requests(relay, 600)  # everything is loaded, and every pool as large as it gets
    memory, descriptors = private_memory_kb(relay), descriptor_count(relay)
    _requests(relay, 1200)
    wait_until(lambda: relay.in_flight() == 0)
    assert private_memory_kb(relay) - memory < 1500
    wait_until(lambda: descriptor_count(relay) <= descriptors + 4, description="connections to be closed")
    assert a.connections <= 4 * WORKERS + 300  # a broken stream costs one; the others are used again


def test_bodies_of_requests_that_fail_are_gone_with_them(relay: Router, a: Instance):
    """And do not wait for a garbage collection, which may be far."""
    a.play(lambda peer, received: False)
    filler = b"y" * 2_000_000
    memory = private_memory_kb(relay)
    for _ in range(20):
        for asked in (
            *(post(b'{"model": "%b", "x": "%b"}' % (m, filler)) for m in (b"a", b"dead", b"nobody")),
            GARBAGE,
        ):
            with relay.client() as client:
                assert client.send(asked).answer().status >= 400
    assert private_memory_kb(relay) - memory < 20_000
