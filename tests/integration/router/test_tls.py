"""TLS on both sides: for clients, and to `https://` instances."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.e2e.sites import Site
from tests.integration.router.certificates import Certificate, make_certificate
from tests.integration.router.client import Client, get, post
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.secure_routers import Secure, secure, serving
from tests.waiting import wait_until

ASK = post({"model": "m"})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "router")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "other")


@pytest.fixture(scope="module")
def plain() -> Iterator[Instance]:
    instance = Instance()
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def secured(pair: Certificate, plain: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    services = static(tmp_path_factory.mktemp("tls") / "static.json", [service("m", plain.port, "m")])
    with serving(pair, services) as running:
        yield running
        assert "Traceback" not in running.output()
        assert "SSLError" not in running.output()


@pytest.fixture
def own(secured: Router, plain: Instance) -> Router:
    plain.play()
    return secured


def in_flight(running: Router, pair: Certificate) -> int:
    with secure(running, pair) as client:
        return int(client.send(get(b"/stats")).answer().body.partition(b'"in_flight":')[2].partition(b",")[0])


# Clients.


def test_many_requests_on_one_connection(own: Router, pair: Certificate, plain: Instance):
    with secure(own, pair) as client:
        for n in range(5):
            assert client.send(post({"model": "m", "n": n})).answer().body == b"ok"
        assert client.send(get(b"/v1/models")).answer().status == 200
    assert [received.body for received in plain.received] == [b'{"model": "m", "n": %d}' % n for n in range(5)]


def test_pipelined_requests_and_large_bodies_both_ways(own: Router, pair: Certificate, plain: Instance):
    def echo(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(received.body), received.body))

    plain.play(echo)
    large = b'{"model": "m", "text": "%b"}' % (b"x" * 3_000_000)
    with secure(own, pair) as client:
        assert client.send(post(large)).answer().body == large
        client.send(ASK * 3)
        assert [client.answer().body for _ in range(3)] == [b'{"model": "m"}'] * 3


def test_a_stream_passes_event_by_event(own: Router, pair: Certificate, plain: Instance):
    plain.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with secure(own, pair) as client:
        client.send(ASK).head()
        assert client.chunk() == b"data: 1\n\n"
        plain.peers[-1].send(chunk(b"data: 2\n\n"))
        assert client.chunk() == b"data: 2\n\n"
        plain.peers[-1].send(b"0\r\n\r\n")
        assert client.chunk() == b""
        plain.script = lambda peer, received: peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")
        assert client.send(ASK).answer().body == b"again"


def test_a_response_that_ends_with_its_connection_sends_close_notify(own: Router, pair: Certificate):
    with secure(own, pair) as client:
        client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.answer().body == b"ok"


def test_an_unsized_answer_that_ends_with_its_connection_is_whole(own: Router, pair: Certificate, plain: Instance):
    def unsized(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        return False

    plain.play(unsized)
    with secure(own, pair) as client:
        client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        client.head()
        assert client.all() == b"to the end"  # without a farewell of the router's this raises


def test_an_unsized_answer_that_was_cut_does_not_look_whole(own: Router, pair: Certificate, plain: Instance):
    def broken(peer: Peer, received: ReceivedRequest) -> bool:
        peer.send(CHUNKED.replace(b"text/event-stream", b"text/plain") + chunk(b"half of"))
        return False

    plain.play(broken)
    with secure(own, pair, strict=True) as client:
        client.send(ASK.replace(b"HTTP/1.1", b"HTTP/1.0")).head()
        with pytest.raises(ssl.SSLError):
            client.all()


def test_errors_are_sent_over_tls(own: Router, pair: Certificate):
    with secure(own, pair) as client:
        told = client.send(post({"model": "nobody's"})).answer()
        assert (told.status, told.error()["code"]) == (503, "service_unavailable")
        assert client.send(ASK).answer().body == b"ok"
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.answer().status == 400


def test_a_client_that_leaves_is_noticed(own: Router, pair: Certificate, plain: Instance):
    plain.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with secure(own, pair) as client:
        client.send(ASK).head()
        peer = plain.peers[-1]
        assert in_flight(own, pair) == 1
    wait_until(lambda: peer.sock.fileno() < 0, 1, "the connection to the instance to be cut")
    wait_until(lambda: in_flight(own, pair) == 0, 2)


def test_plain_http_and_half_a_handshake_disturb_no_other_client(own: Router, pair: Certificate):
    with socket.create_connection(("127.0.0.1", own.port), 10) as sock:
        sock.sendall(get(b"/readyz"))
        told = b""
        with suppress(OSError):
            told = sock.recv(100)
        assert not told.startswith(b"HTTP")
    with socket.create_connection(("127.0.0.1", own.port), 10) as silent, secure(own, pair) as client:
        silent.sendall(b"\x16\x03\x01")
        assert client.send(ASK).answer().body == b"ok"


def test_sigterm_drains(pair: Certificate, plain: Instance, tmp_path: Path):
    """A stream ends with the error event, an idle connection and half a handshake hold up nothing."""
    services = static(tmp_path / "static.json", [service("m", plain.port, "m")])
    plain.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with serving(pair, services, "--graceful-timeout", 0.5) as own:
        with secure(own, pair) as stream, secure(own, pair) as idle, Client(own.port) as silent:
            stream.send(ASK).head()
            own.process.send_signal(signal.SIGTERM)
            *_, told = iter(stream.chunk, b"")
            assert last_error(told)["message"].startswith("the router is stopping")
            with suppress(ssl.SSLEOFError):
                assert idle.ended()
            assert silent.ended()
        assert own.process.wait(8) == 0
        assert "Traceback" not in own.output()


def test_hup_takes_up_a_renewed_certificate(pair: Certificate, other: Certificate, plain: Instance, tmp_path: Path):
    services = static(tmp_path / "static.json", [service("m", plain.port, "m")])
    used = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    for old, new in zip(pair, used, strict=True):
        shutil.copy(old, new)
    with serving(used, services) as own:
        for renewed, file in zip(other, used, strict=True):
            shutil.copy(renewed, file)
        own.process.send_signal(signal.SIGHUP)

        def renewed_is_served() -> bool:
            with suppress(ssl.SSLCertVerificationError), secure(own, other) as client:
                return client.send(get(b"/readyz")).answer().status == 200
            return False

        wait_until(renewed_is_served)


# Wrong files.


def refused(*flags: object) -> str:
    """What the router says that does not start: one line."""
    with router("--registry-url", "http://127.0.0.1:9", *flags, ready=False) as own:
        assert own.process.wait(20) == 1
        (line,) = own.output().splitlines()
    return line


def test_files_that_cannot_serve(pair: Certificate, other: Certificate, tmp_path: Path):
    gone = tmp_path / "gone.pem"
    assert (
        refused("--certfile", pair.cert, "--keyfile", gone) == f"svc: {gone}: cannot read it: No such file or directory"
    )
    assert "are no certificate (PEM) and its unencrypted key: " in refused(
        "--certfile", pair.cert, "--keyfile", other.key
    )
    assert "certfile and keyfile go together" in refused("--certfile", pair.cert)
    assert refused("--upstream-ca", pair.key) == f"svc: upstream_ca: {pair.key}: no certificate (PEM) in it"


def test_an_encrypted_key_is_refused_without_a_question(pair: Certificate, tmp_path: Path):
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-in", pair.key, "-out", locked, "-passout", "pass:secret"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    assert "unencrypted key" in refused("--certfile", pair.cert, "--keyfile", locked)


# Instances.


def test_an_https_instance(pair: Certificate, tmp_path: Path):
    """Verified with --upstream-ca; its connections are kept, its streams flow, its health is asked with TLS."""
    instance = Secure(pair)
    services = [service("m", instance.port, "m", url=f"https://127.0.0.1:{instance.port}")]
    flags = ("--static-services", static(tmp_path / "static.json", services), "--upstream-ca", pair.cert)
    try:
        with router(*flags, "--health-interval", 0.2, "--max-errors", 1) as own, own.client() as client:
            for _ in range(5):
                assert client.send(ASK).answer().body == b"ok"
            assert instance.connections == 1
            instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
            client.send(ASK).head()
            assert client.chunk() == b"data: 1\n\n"
            instance.peers[-1].send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
            assert [client.chunk(), client.chunk()] == [b"data: 2\n\n", b""]
            instance.sick = True  # and its checks are believed
            wait_until(lambda: not own.service("m")["healthy"])
            instance.sick = False
            wait_until(lambda: own.service("m")["healthy"])
    finally:
        instance.close()


def test_an_https_instance_without_a_trusted_certificate_gets_nothing(
    pair: Certificate, other: Certificate, tmp_path: Path
):
    instance = Secure(pair)
    services = [service("m", instance.port, "m", url=f"https://127.0.0.1:{instance.port}")]
    path = static(tmp_path / "static.json", services)
    try:
        for flags in ((), ("--upstream-ca", other.cert)):
            with router("--static-services", path, *flags) as own, own.client() as client:
                told = client.send(ASK).answer()
                assert told.status == 502
                assert "certificate verify failed" in told.error()["message"]
        assert not instance.received
    finally:
        instance.close()


# A whole site.


def test_a_site_with_keys_and_tls_starts_and_shows_its_status(pair: Certificate):
    root = Path(tempfile.mkdtemp(prefix="svc"))  # short: the path of a socket is
    site = Site(root, f'keys_file = "var/keys.toml"\ncertfile = "{pair.cert}"\nkeyfile = "{pair.key}"\n')
    try:
        site.mock("one")
        secret = site.svc("keys", "add", "me")[0].strip()
        (call,) = [line for line in site.svc("up", "--timeout", "60")[0].splitlines() if line.startswith("  curl ")]
        environ = {**os.environ, "KEY": secret, "NO_PROXY": "*"}
        answer = subprocess.run(call, shell=True, env=environ, capture_output=True, text=True, timeout=30)
        assert json.loads(answer.stdout)["model"] == "m", answer.stderr
        told = json.loads(site.svc("status", "--json")[0])
        assert told["ok"], told["problems"]
        assert {p["health"] for p in told["programs"]} == {"healthy", "ready 1/1"}
        url = f"https://localhost:{site.router_port}/v1/models"
        headers = {"Authorization": f"Bearer {secret}"}
        assert requests.get(url, headers=headers, verify=str(pair.cert), timeout=10).json()["data"][0]["id"] == "m"
    finally:
        site.end()
        shutil.rmtree(root, ignore_errors=True)
