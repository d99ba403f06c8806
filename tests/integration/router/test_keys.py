"""API keys end to end, limits of keys, and whose address the router believes."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fork_server import run_svc
from tests.integration.router.client import Client, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, ok
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

ASK = {"model": "m"}
PROTECTED = ("/v1/models", "/models", "/v1/models/m", "/services", "/stats")
OPEN = ("/health", "/status", "/livez", "/readyz", "/metrics", "/openapi.json")


class Site:
    """A router that wants keys, its one instance, its file of keys and its access log."""

    def __init__(self, path: Path, instance: Instance) -> None:
        self.file = path / "keys.toml"
        self.log = path / "access.log"
        self.instance = instance
        self.router: Router

    def add(self, name: str, *flags: object) -> str:
        """As an operator does it; the secret."""
        return self._keys("add", name, *flags).strip()

    def revoke(self, name: str) -> None:
        self._keys("revoke", name)

    def _keys(self, *words: object) -> str:
        return run_svc("keys", *words, "--file", self.file)[0]

    def post(self, secret: str = "", path: str = "/v1/chat/completions", **headers: str) -> requests.Response:
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        return requests.post(self.router.url + path, json=ASK, headers=headers, timeout=10)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def line(self, request_id: str) -> dict[str, Any]:
        return wait_until(lambda: [line for line in self.lines() if line["id"] == request_id], description="its line")[
            0
        ]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    instance = Instance()
    path = tmp_path_factory.mktemp("keys")
    site = Site(path, instance)
    secret = site.add("ci")
    services = static(path / "static.json", [service("m", instance.port, "m")])
    flags = ("--keys-file", site.file, "--access-log", site.log, "--trusted-proxies", "127.0.0.1,10.0.0.0/8")
    with router("--static-services", services, *flags) as site.router:
        yield site, secret
        assert "Traceback" not in site.router.output()
        assert secret not in site.router.output()
        assert secret not in site.log.read_text()
    instance.close()


@pytest.fixture
def site(running: tuple[Site, str]) -> Site:
    running[0].instance.play()
    return running[0]


@pytest.fixture
def secret(running: tuple[Site, str]) -> str:
    return running[1]


# Who is let in.


def test_a_key_in_either_header_lets_in_and_goes_no_further(site: Site, secret: str):
    assert site.post(secret).text == "ok"
    assert site.post(path="/v1/messages", **{"x-api-key": secret}).text == "ok"
    for received in site.instance.received:
        assert secret.encode() not in received.head
        assert received.header(b"authorization") is received.header(b"x-api-key") is None
    assert len(site.instance.received) == 2


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer svc-wrong"}, {"x-api-key": "svc-wrong"}])
def test_without_a_known_key_nothing_is_relayed(site: Site, headers: dict[str, str]):
    told = site.post(**headers)
    assert told.status_code == 401
    assert told.headers["WWW-Authenticate"] == "Bearer"
    assert told.headers["x-should-retry"] == "false"
    assert told.headers["x-request-id"]
    error = told.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert "svc-wrong" not in told.text
    assert not site.instance.received


def test_anthropics_clients_get_errors_in_anthropics_format(site: Site):
    told = site.post(path="/v1/messages", **{"x-api-key": "wrong"})
    assert told.status_code == 401
    assert told.json()["type"] == "error"
    assert told.json()["error"]["type"] == "authentication_error"


def test_an_instance_that_wants_a_key_of_its_own_is_not_the_clients_fault(site: Site, secret: str):
    """The client's key was the router's, and was not passed on."""
    body = b"HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}"
    site.instance.play(lambda peer, received: peer.send(body))
    answer = site.post(secret)
    assert answer.status_code == 502
    assert "WWW-Authenticate" not in answer.headers
    assert "m: it wants an API key (401), and the router's upstream_keys_file has none" in answer.text


def test_a_refused_request_leaves_the_connection_usable(site: Site, secret: str):
    with Client(site.router.port) as client:
        assert client.send(post(ASK)).answer().status == 401
        assert client.send(post(ASK, b"Authorization: Bearer " + secret.encode())).answer().body == b"ok"


def test_probes_need_no_key_and_lists_of_instances_do(site: Site, secret: str):
    for path in OPEN:
        assert site.router.get(path).status_code == 200, path
    root = requests.get(site.router.url, headers={"Accept": "text/html"}, timeout=10)
    assert (root.status_code, root.url) == (200, f"{site.router.url}/ui"), (
        "a browser gets the page, which asks for a key"
    )
    for path in PROTECTED:
        told = site.router.get(path)
        assert told.status_code == 401, path
        assert told.headers["WWW-Authenticate"] == "Bearer"
        assert told.json()["error"]["code"] == "invalid_api_key"
        for name, value in (("Authorization", f"Bearer {secret}"), ("x-api-key", secret)):
            assert requests.get(site.router.url + path, headers={name: value}, timeout=10).status_code == 200, path


def test_the_key_is_named_in_the_log_and_in_the_metrics(site: Site, secret: str):
    site.post(secret, **{"x-request-id": "named"})
    site.post(**{"x-request-id": "nobody"})
    line = site.line("named")
    assert (line["key"], line["end"]) == ("ci", "done")
    line = site.line("nobody")
    assert (line["key"], line["status"], line["end"], line["attempts"]) == ("", 401, "refused", 0)
    assert 'svc_router_key_requests_total{key="ci"}' in site.router.get("/metrics").text


# The file changes.


def test_changes_of_the_file_hold_within_a_moment(site: Site, secret: str):
    new = site.add("new")
    wait_until(lambda: site.post(new).status_code == 200, 3, "the new key to be known")
    site.revoke("new")
    wait_until(lambda: site.post(new).status_code == 401, 3, "the revoked key to be unknown")
    assert site.post(secret).status_code == 200


def test_a_broken_file_changes_nothing_and_is_logged_once(site: Site, secret: str):
    good = site.file.read_bytes()
    site.file.write_text("[keys")
    wait_until(lambda: "its last good content stays in use" in site.router.output())
    assert site.post(secret).status_code == 200
    site.file.write_bytes(good)
    wait_until(lambda: site.router.output().count("read again") > 1)
    assert site.router.output().count("its last good content stays in use") == 1
    assert site.post(secret).status_code == 200


def test_a_revoked_keys_stream_finishes(site: Site):
    fleeting = site.add("fleeting")
    wait_until(lambda: site.post(fleeting).status_code == 200, 3)
    site.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with Client(site.router.port) as stream:
        stream.send(post(ASK, b"x-api-key: " + fleeting.encode())).head()
        assert stream.chunk() == b"data: 1\n\n"
        peer = site.instance.peers[-1]
        site.instance.script = ok
        site.revoke("fleeting")
        wait_until(lambda: site.post(fleeting).status_code == 401, 3)
        peer.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
        assert [stream.chunk(), stream.chunk()] == [b"data: 2\n\n", b""]


# Limits.


def test_requests_per_minute(site: Site):
    slow = site.add("slow", "--requests-per-minute", 3)
    wait_until(lambda: site.post(slow, path="/v1/messages").status_code == 200, 3)
    told = [site.post(slow, **{"x-request-id": f"slow-{n}"}) for n in range(3)]
    assert [answer.status_code for answer in told] == [200, 200, 429]
    assert 1 <= int(told[-1].headers["Retry-After"]) <= 20
    assert told[-1].json()["error"]["code"] == "rate_limit_exceeded"
    line = site.line("slow-2")
    assert (line["key"], line["status"], line["end"]) == ("slow", 429, "refused")
    told = site.post(slow, path="/v1/messages")
    assert (told.status_code, told.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "Retry-After" in told.headers


def test_concurrency_counts_streams_until_their_end(site: Site):
    one = site.add("one", "--concurrency", 1)
    wait_until(lambda: site.post(one).status_code == 200, 3)
    site.instance.play(lambda peer, received: peer.send(CHUNKED + chunk(b"data: 1\n\n")))
    with Client(site.router.port) as stream:
        stream.send(post(ASK, b"x-api-key: " + one.encode())).head()
        stream.chunk()
        told = site.post(one)
        assert (told.status_code, told.headers["Retry-After"]) == (429, "1")
        assert "concurrent requests" in told.json()["error"]["message"]
    site.instance.script = ok
    wait_until(lambda: site.post(one).status_code == 200, 2, "the place to be free: the client has left")


# Starting.


def test_a_router_starts_only_with_a_good_file(tmp_path: Path):
    file = tmp_path / "keys.toml"
    for text in (None, "[keys.x]\nsha256 = 'short'\n"):
        if text:
            file.write_text(text)
        with router("--registry-url", "http://127.0.0.1:9", "--keys-file", file, ready=False) as own:
            assert own.process.wait(20) == 1
            assert own.output().startswith(f"svc: {file}: ")
            assert "Traceback" not in own.output()


def test_keys_survive_a_hup(tmp_path: Path):
    instance = Instance()
    site = Site(tmp_path, instance)
    secret = site.add("a")
    services = static(tmp_path / "static.json", [service("m", instance.port, "m")])
    with router("--static-services", services, "--keys-file", site.file) as site.router:
        before = site.router.worker()
        os.kill(site.router.process.pid, signal.SIGHUP)
        wait_until(lambda: site.router.worker() != before)
        assert site.post(secret).status_code == 200
        assert site.post().status_code == 401
    instance.close()


# Whose address is believed.


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (None, "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("not an address", "127.0.0.1"),
    ],
)
def test_the_client_behind_trusted_proxies(site: Site, secret: str, forwarded: str | None, client: str):
    name = f"from-{forwarded}".replace(" ", "")
    headers = {"x-request-id": name, **({"X-Forwarded-For": forwarded} if forwarded else {})}
    site.post(secret, **headers)
    assert site.line(name)["client"] == client
    passed = site.instance.received[-1].header(b"x-forwarded-for")
    assert passed == (f"{forwarded}, 127.0.0.1" if forwarded else "127.0.0.1").encode()


def test_no_proxy_is_trusted_by_default_and_bad_networks_are_refused(tmp_path: Path):
    instance, log = Instance(), tmp_path / "access.log"
    services = static(tmp_path / "static.json", [service("m", instance.port, "m")])
    with router("--static-services", services, "--access-log", log) as own, own.client() as client:
        assert (
            client.send(post(ASK, b"X-Forwarded-For: 203.0.113.7", b"Authorization: Bearer x")).answer().body == b"ok"
        )
        wait_until(lambda: log.exists() and log.read_text())
        assert json.loads(log.read_text())["client"] == "127.0.0.1"
        assert (
            instance.received[0].header(b"authorization") == b"Bearer x"
        )  # where the router has no keys, it is not for it
    instance.close()
    with router("--static-services", services, "--trusted-proxies", "ten", ready=False) as own:
        assert own.process.wait(20) == 1
        assert own.output().startswith("svc: trusted_proxies: 'ten' does not appear to be")
