"""/ui of real routers: the page's files, its stream, and draining by the registry."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from svc.client.registry import RegistryClient
from tests.fork_server import run_svc
from tests.integration.router.client import Client, get, post
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import BIN, Router, router, running, service, static
from tests.waiting import free_port, wait_until

STREAM = get(b"/ui/stream")
TOKEN = "the-operators-word"


class Page:
    """A client of the page's stream."""

    def __init__(self, client: Client, *headers: bytes) -> None:
        self.client = client.send(get(b"/ui/stream", *headers))
        self.status, _, self.headers = client.head()

    def next(self, name: str) -> Any:
        """Return the data of the next event of that name."""
        while True:
            block = self.client.until(b"\n\n").decode()
            if block.startswith(f"event: {name}\n"):
                return json.loads(block.split("data: ", 1)[1])

    def until(self, name: str, fits: Any) -> Any:
        while not fits(data := self.next(name)):
            pass
        return data


@pytest.fixture
def services(a: Instance, tmp_path: Path) -> Path:
    return static(tmp_path / "static.json", [service("a", a.port, "m")])


def test_the_page_and_its_files_are_served(relay: Router):
    shell = relay.get("/ui")
    assert shell.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in shell.headers["Content-Security-Policy"]
    assert requests.get(relay.url + "/ui/", timeout=5, allow_redirects=False).headers["Location"] == "/ui"
    assert relay.get("/ui/vendor/uplot/uPlot.min.css").headers["Content-Type"].startswith("text/css")
    again = requests.get(relay.url + "/ui", timeout=5, headers={"If-None-Match": shell.headers["ETag"]})
    assert (again.status_code, again.content, again.headers.get("Content-Length")) == (304, b"", None)


@pytest.mark.parametrize("path", ["/ui/..%2fapp.py", "/ui/nothing.js", "/ui/vendor", "/ui/drain/a"])
def test_no_other_file_is_served(relay: Router, path: str):
    answer = relay.get(path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]["message"]


def test_a_page_receives_what_happens(relay: Router, a: Instance):
    with relay.client() as client, relay.client() as other:
        page = Page(client)
        assert page.status == 200
        site = page.next("site")
        assert [i["state"] for i in site["instances"] if i["name"] == "a"] == ["healthy"]
        assert page.next("history")["every"] == 2.0
        page.until("tick", lambda tick: tick["models"]["a"]["requests"] == 0)
        assert other.send(post({"model": "a"})).answer().status == 200
        page.until("tick", lambda tick: tick["instances"].get("a", {}).get("requests", 0) > 0)
        page.until("tick", lambda tick: tick["models"]["a"]["requests"] > 0)


def test_an_unfinished_stream_shows_its_tokens_and_time_to_first_token(relay: Router, a: Instance):
    read, events = threading.Event(), 20

    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(events):
            peer.send(b"9\r\ndata: x\n\n\r\n")
            assert read.wait(30)
            read.clear()
        peer.send(b"0\r\n\r\n")

    a.play(script)
    with relay.client() as client, relay.client() as other:
        page = Page(client)
        page.next("tick")
        other.send(post({"model": "a", "stream": True})).head()
        for _ in range(events - 1):
            assert other.chunk() == b"data: x\n\n"
            read.set()
        tick = page.until("tick", lambda tick: tick["instances"].get("a", {}).get("tokens"))
        assert tick["instances"]["a"]["in_flight"] == 1, "it goes on"
        for told in (tick["instances"]["a"], tick["models"]["a"]):
            assert told["tokens"] > 0
            assert told["first_token"] is not None
        assert other.chunk() == b"data: x\n\n"
        read.set()
        assert other.chunk() == b""


def test_head_opens_no_stream(relay: Router):
    with relay.client() as client:
        status, _, headers = client.send(STREAM.replace(b"GET", b"HEAD", 1)).head()
        assert (status, dict(headers)[b"Content-Type"]) == (200, b"text/event-stream; charset=utf-8")
        assert client.all() == b""


def test_streams_end_at_once_when_the_router_stops(services: Path):
    with router("--static-services", services) as own, own.client() as client, own.client() as other:
        page, _ = Page(client), Page(other)
        page.next("tick")
        own.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        client.all()
        assert own.process.wait(5) == 0
        assert time.monotonic() - begun < 3
        assert "Traceback" not in own.output()


def test_at_most_sixty_four_pages_are_open(services: Path):
    with router("--static-services", services) as own:
        clients = [own.client() for _ in range(64)]
        pages = [Page(client) for client in clients]
        assert {page.status for page in pages} == {200}
        with own.client() as client:
            refused = client.send(STREAM).answer()
        assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
        clients[0].sock.close()

        def opens() -> bool:
            with own.client() as client:
                return Page(client).status == 200

        wait_until(opens, description="a place to be free again")
        for client in clients:
            client.sock.close()


def test_the_stream_needs_a_key_and_ends_when_it_is_revoked(services: Path, tmp_path: Path):
    keys = tmp_path / "keys.toml"
    secret = _keys("add", "ops", keys)
    with router("--static-services", services, "--keys-file", keys) as own, own.client() as client:
        assert own.get("/ui").status_code == own.get("/ui/page.js").status_code == 200
        assert own.get("/ui/stream").status_code == 401
        assert requests.post(f"{own.url}/ui/drain/a", timeout=5).status_code == 401
        page = Page(client, b"Authorization: Bearer " + secret.encode())
        assert page.status == 200
        assert page.next("site")["keyed"] is True
        _keys("revoke", "ops", keys)
        client.all()
        with own.client() as again:
            assert Page(again, b"Authorization: Bearer " + secret.encode()).status == 401


def _keys(verb: str, name: str, file: Path) -> str:
    return run_svc("keys", verb, name, "--file", file)[0].strip()


# Draining.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, str]]:
    """Yield a router with one instance, and the token of its registry."""
    token = tmp_path_factory.mktemp("ui") / "token"
    token.write_text(TOKEN)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(BIN / "svc"),
        "registry",
        "--port",
        str(port),
        "--token-file",
        str(token),
        "--health-interval",
        "3600",
    ]
    with running(command, port):
        wait_until(lambda: _ok(f"{url}/health"), description="the registry")
        RegistryClient(url, str(token)).register(
            {
                "name": "a",
                "host": "127.0.0.1",
                "port": 1,
                "hostname": "h",
                "url": "http://127.0.0.1:1",
                "status": "running",
                "lease_seconds": 3600,
                "metadata": {"type": "openai-api", "models": ["m"]},
            }
        )
        with router("--registry-url", url) as own:
            yield own, url


def _ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _ask(own: Router, verb: str, name: str, **headers: str) -> requests.Response:
    return requests.post(f"{own.url}/ui/{verb}/{name}", headers=headers, timeout=10)


def test_an_operator_drains_and_undrains_an_instance(site: tuple[Router, str]):
    own, url = site
    with own.client() as client:
        page = Page(client)
        page.until("site", lambda site: [i["state"] for i in site["instances"]] == ["healthy"])
        for verb, drained, word in (("drain", True, "drained"), ("undrain", False, "healthy")):
            answer = _ask(own, verb, "a", **{"X-Operator-Token": TOKEN})
            assert (answer.status_code, answer.json()["service"]["drained"]) == (200, drained)
            assert requests.get(f"{url}/services/a", timeout=5).json()["drained"] is drained
            page.until("site", lambda site, word=word: [i["state"] for i in site["instances"]] == [word])
    audit = requests.get(f"{url}/events?audit=true", timeout=5).json()["events"][-2:]
    assert [(event["kind"], event["actor"], event["address"]) for event in audit] == [
        ("drained", "operator", "127.0.0.1 via 127.0.0.1"),
        ("undrained", "operator", "127.0.0.1 via 127.0.0.1"),
    ]
    assert TOKEN not in own.output()


def test_no_one_without_the_token_drains(site: tuple[Router, str]):
    """This holds for the registry's own machine too, from which the registry needs no token."""
    own, url = site
    for headers, status in (({}, 401), ({"X-Operator-Token": "a guess"}, 401), ({"Authorization": TOKEN}, 401)):
        answer = _ask(own, "drain", "a", **headers)
        assert answer.status_code == status
        assert "token" in answer.json()["error"]["message"].lower()
    assert _ask(own, "drain", "nobody", **{"X-Operator-Token": TOKEN}).status_code == 404
    assert _ask(own, "drain", "a%2Fdrain%3F", **{"X-Operator-Token": TOKEN}).status_code == 405
    assert requests.get(f"{url}/services/a", timeout=5).json()["drained"] is False


def test_with_the_registrys_token_an_operators_commands_need_no_key(site: tuple[Router, str], tmp_path: Path):
    _, url = site
    keys, token, guess = tmp_path / "keys.toml", tmp_path / "token", tmp_path / "guess"
    _keys("add", "client", keys)
    token.write_text(TOKEN)
    guess.write_text("a-guess")
    with router("--registry-url", url, "--keys-file", keys) as keyed:
        problems = [
            run_svc("wake", "a", "--router-url", keyed.url, *options, status=1)[1]
            for options in ((), ("--token-file", guess), ("--token-file", token))
        ]
    assert "accepts only an operator's key" in problems[0]
    assert "is not the registry's write token" in problems[1]
    assert "a is always awake" in problems[2]
