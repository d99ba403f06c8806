"""The same application under gunicorn's own workers: it relays too, the long way."""

import datetime
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from tests.integration.fakes import Mock, mock
from tests.integration.router.client import get, post
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import Instance
from tests.integration.router.routers import BIN, Router, running, service, static
from tests.waiting import free_port, wait_until

ASK = post({"model": "m"})
TOML = """[router]
static_services = "static.json"
max_body = 25000000
policy = "round_robin"
allow_paths = ["*"]
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[Mock]:
    with mock("mock", ["mock"]) as made:
        yield made


@pytest.fixture(scope="module")
def fake() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["gevent", "gthread"])
def worker_class(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def own(worker_class: str, fake: Instance, backend: Mock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with standalone(worker_class, fake, backend, tmp_path_factory.mktemp(worker_class)) as made:
        yield made


@contextmanager
def standalone(worker_class: str, fake: Instance, backend: Mock, root: Path, settings: str = "") -> Iterator[Router]:
    (root / "config").mkdir()
    (root / "config" / "svc.toml").write_text(TOML + settings)
    dead = service("dead", free_port(), "dead", "dead-m")
    static(root / "static.json", [service("m", fake.port, "m", "dead-m"), service("k", backend.port, "mock"), dead])
    port = free_port()
    words = [str(BIN / "gunicorn"), "-k", worker_class, "--threads", "40", "-b", f"127.0.0.1:{port}"]
    with running([*words, "--chdir", str(root), "svc.router.serve:standalone()"], port) as made:
        wait_until(made.ready, timeout=20)
        yield made


@pytest.fixture
def instance(own: Router, fake: Instance) -> Instance:
    fake.play()
    return fake


def test_requests_are_relayed_and_own_endpoints_answered(own: Router, instance: Instance):
    with own.client() as client:
        answer = client.send(
            post(
                {"model": "m"}, b"X-Request-Id: mine", b"Connection: keep-alive, X-Mine", b"X-Mine: 1", b"TE: trailers"
            )
        ).answer()
        assert (answer.status, answer.body, answer.header(b"x-request-id")) == (200, b"ok", b"mine")
        assert client.send(get(b"/v1/models")).answer().status == 200
        assert client.send(get(b"/readyz")).answer().status == 200
        assert client.send(post({"model": "m"}, path=b"/health?x=%41")).answer().body == b"ok"
    assert instance.received[-1].line == b"POST /health?x=%41 HTTP/1.1"
    names = {name.lower() for name, _ in instance.received[0].headers}
    assert names == {b"host", b"x-forwarded-for", b"x-request-id", b"content-length", b"via"}
    assert instance.connections == 1


def test_any_method_and_path_is_relayed(own: Router, instance: Instance):
    with own.client() as client:
        for line in (b"PROPFIND //a//b/%2e%2e/c/?q HTTP/1.1", b"OPTIONS /v1/x HTTP/1.1"):
            client.send(line + b"\r\nHost: r\r\nContent-Length: 14\r\n\r\n" + b'{"model": "m"}')
            assert client.answer().body == b"ok"
            assert instance.received[-1].line == line


def test_big_bodies_pass_both_ways(own: Router, instance: Instance):
    body = b'{"model": "m", "x": "%b"}' % os.urandom(5_000_000).hex().encode()
    instance.play(
        lambda peer, received: peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received.body) + received.body
        )
    )
    with own.client() as client:
        assert hashlib.sha256(client.send(post(body)).answer().body).digest() == hashlib.sha256(body).digest()


def test_streams_pass_event_by_event_and_end_with_the_error_event(own: Router, instance: Instance):
    arrived = threading.Event()

    def script(peer, received) -> bool:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        assert arrived.wait(5)
        peer.send(chunk(b"data: 2\n\nda"))
        return False

    instance.play(script)
    with own.client() as client:
        _, _, headers = client.send(ASK).head()
        assert dict(headers)[b"X-Accel-Buffering"] == b"no"
        assert client.chunk() == b"data: 1\n\n"
        arrived.set()
        assert client.chunk() == b"data: 2\n\n"
        assert last_error(b"".join(iter(client.chunk, b"")))["code"] == "bad_gateway"
    wait_until(lambda: own.service("m")["in_flight"] == 0, description="its end to be counted")


def test_a_broken_response_is_truncated_for_the_client_too(own: Router, instance: Instance):
    def script(peer, received) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 70_000)
        return False

    instance.play(script)
    with own.client() as client:
        client.send(ASK).head()
        assert client.all() == b"x" * 70_000
    wait_until(lambda: own.in_flight() == 0)


def test_retries_and_errors_are_the_same(own: Router, instance: Instance):
    with own.client() as client:
        for _ in range(2):
            assert client.send(post({"model": "dead-m"})).answer().body == b"ok"
        answer = client.send(post({"model": "no"}, b"X-Request-Id: mine")).answer()
        assert (answer.status, answer.header(b"x-request-id")) == (503, b"mine")
        assert answer.error()["message"] == "No healthy services available for model 'no'"
        assert client.send(post(b'{"model": "m", "x": "%b"}' % (b"y" * 25_000_000))).answer().status == 413


def test_head_and_answers_without_a_body(own: Router, instance: Instance):
    instance.play(lambda peer, received: peer.send(b"HTTP/1.1 204 \r\n\r\n"))
    with own.client() as client:
        assert client.send(ASK).answer().status == 204
        instance.play(lambda peer, received: peer.send(b"HTTP/1.1 200\r\nContent-Length: 99\r\n\r\n"))
        client.send(b'HEAD /x HTTP/1.1\r\nHost: r\r\nContent-Length: 14\r\n\r\n{"model": "m"}')
        assert client.answer(head_only=True).header(b"content-length") == b"99"
    wait_until(lambda: own.in_flight() == 0)


def test_the_time_in_all_is_kept(worker_class: str, fake: Instance, backend: Mock, tmp_path: Path):
    """At a router of its own: the other tests' requests may take longer than this on a busy machine."""
    fake.play(lambda peer, received: None)
    with standalone(worker_class, fake, backend, tmp_path, "proxy_timeout = 1\n") as own:
        with own.client() as client:
            assert client.send(ASK).answer().status == 504
        wait_until(lambda: own.in_flight() == 0)


def test_a_client_that_leaves_a_stream_releases_it(own: Router, backend: Mock):
    """Noticed at the next write, as such servers do."""
    backend.behave(tokens=500, token_delay=0.02)
    before = backend.stats()["cut_by_client"]
    with own.client() as client:
        client.send(post({"model": "mock", "stream": True, "messages": [{"role": "user", "content": "x"}]})).head()
    wait_until(lambda: backend.stats()["cut_by_client"] == before + 1, timeout=5)
    wait_until(lambda: own.in_flight() == 0)
    assert own.process.poll() is None


def test_many_at_once_are_not_mixed(own: Router, instance: Instance):
    instance.play(
        lambda peer, received: peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received.body) + received.body
        )
    )
    wrong = []

    def ask(n: int) -> None:
        with own.client() as client:
            for k in range(20):
                body = b'{"model": "m", "n": "%d.%d"}' % (n, k)
                if client.send(post(body)).answer().body != body:
                    wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    wait_until(lambda: own.in_flight() == 0)


def test_keys_limit_requests_and_models_and_fronts_name_users(
    worker_class: str, instance: Instance, backend: Mock, tmp_path: Path
):
    with router_keys.editing(tmp_path / "keys.toml") as keys:
        created = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
        policy = {"models": ("m",), "requests_per_minute": 1, "front": True}
        keys["web"] = KeyEntry(router_keys.digest("secret"), created, **policy)
    key, alice = b"Authorization: Bearer secret", b"X-OpenWebUI-User-Id: alice"
    with (
        standalone(worker_class, instance, backend, tmp_path, 'keys_file = "keys.toml"\n') as own,
        own.client() as client,
    ):
        answer = client.send(post({"model": "m"}, key, alice)).answer()
        assert (answer.status, answer.header(b"x-ratelimit-remaining-requests")) == (200, b"0")
        answer = client.send(post({"model": "m"}, key, alice)).answer()
        assert (answer.status, answer.header(b"x-ratelimit-limit-requests")) == (429, b"1")
        assert client.send(post({"model": "mock"}, key)).answer().status == 503
        models = json.loads(client.send(get(b"/v1/models", key)).answer().body)["data"]
        assert [model["id"] for model in models] == ["m"]
