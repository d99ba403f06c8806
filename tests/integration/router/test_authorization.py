"""What passes the router by default, and what is judged before a body is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.fork_server import run_svc
from tests.integration.router.client import post
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, ok
from tests.integration.router.routers import BIN, Router, router, running, service, static
from tests.waiting import free_port, wait_until

LARGE = 50 << 20
SECOND = 1 << 20


class Site:
    """A router with one instance `m`, and the secrets of its keys by their names."""

    def __init__(self, own: Router, instance: Instance, secrets: dict[str, str]) -> None:
        self.router = own
        self.instance = instance
        self.secrets = secrets

    def key(self, name: str) -> bytes:
        return b"x-api-key: " + self.secrets[name].encode()

    def send(self, method: str, path: str, key: str = "") -> requests.Response:
        headers = {"x-api-key": self.secrets[key]} if key else {}
        body = {"model": "m"} if method == "POST" else None
        return requests.request(method, self.router.url + path, json=body, headers=headers, timeout=10)


def add_key(file: Path, name: str, *flags: str) -> str:
    return run_svc("keys", "add", name, "--file", file, *flags)[0].strip()


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keyed(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Its paths are the default ones, and /v1/files*."""
    path = tmp_path_factory.mktemp("keyed")
    keys = path / "keys.toml"
    client, operator = add_key(keys, "client", "--concurrency", "1"), add_key(keys, "operator", "--operator")
    flags = ("--keys-file", keys, "--allow-paths", "GET /docs,/v1/files*", "--access-log", path / "access.log")
    with router("--static-services", static(path / "static.json", [service("m", instance.port, "m")]), *flags) as own:
        yield Site(own, instance, {"client": client, "operator": operator})
        assert "Traceback" not in own.output()


@pytest.fixture
def site(keyed: Site, instance: Instance) -> Site:
    instance.play()
    return keyed


def memory(own: Router) -> int:
    """Kilobytes of the process that relays."""
    lines = Path(f"/proc/{own.worker()}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


# Paths.


@pytest.mark.parametrize(
    "line", ["POST /sleep", "POST /v1/load_lora_adapter", "GET /slots", "POST /docs", "GET //docs"]
)
def test_management_reaches_no_instance_but_with_an_operators_key(site: Site, line: str):
    method, path = line.split()
    assert site.send(method, path).status_code == 401
    refused = site.send(method, path, "client")
    assert refused.status_code == 404
    assert refused.json()["error"]["message"].startswith(f"{line} is not relayed")
    assert not site.instance.received
    assert site.send(method, path, "operator").text == "ok"
    assert len(site.instance.received) == 1


@pytest.mark.parametrize("line", ["POST /v1/chat/completions", "POST /v1/messages", "GET /v1/files/x", "GET /docs"])
def test_inference_and_what_the_setting_lists_pass(site: Site, line: str):
    assert site.send(*line.split(), "client").text == "ok"


def test_a_closed_path_leaves_the_connection_usable(site: Site):
    with site.router.client() as client:
        assert client.send(post({"model": "m"}, site.key("client"), path=b"/sleep")).answer().status == 404
        assert client.send(post({"model": "m"}, site.key("client"))).answer().status == 200


# Before the body.


def announced(size: int, *headers: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    lines = b"".join(h + b"\r\n" for h in (b"Host: r", b"Content-Length: %d" % size, *headers))
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (path, lines)


def test_no_continue_is_sent_without_a_key(site: Site):
    with site.router.client() as client:
        answer = client.send(announced(LARGE, b"Expect: 100-continue")).answer()
        assert (answer.status, answer.header(b"connection")) == (401, b"close")
    with site.router.client() as client:
        assert client.send(announced(14, b"Expect: 100-continue", site.key("client"))).answer().status == 100
        assert client.send(b'{"model": "m"}').answer().body == b"ok"


@pytest.mark.parametrize(("path", "status"), [(b"/v1/chat/completions", 401), (b"/ui/drain/m", 413)])
def test_a_body_that_is_refused_is_not_kept_and_its_answer_arrives(site: Site, path: bytes, status: int):
    before = memory(site.router)
    clients = [site.router.client() for _ in range(4)]
    for client in clients:
        client.send(announced(LARGE, path=path) + b"x" * (LARGE - 1))
    assert memory(site.router) - before < 20_000
    for client in clients:
        assert client.answer().status == status
        client.sock.close()


def test_a_client_that_never_finishes_its_body_gives_its_place_back(site: Site):
    with site.router.client() as slow:
        answer = slow.send(announced(100, b"Expect: 100-continue", site.key("client"))).answer()
        assert answer.status == 100, "it has the key's only place"
        slow.send(b"x")
        assert site.send("POST", "/v1/messages", "client").status_code == 429
    wait_until(
        lambda: site.send("POST", "/v1/messages", "client").status_code == 200, description="the place to be free"
    )


# The memory for bodies.


@pytest.fixture
def small(instance: Instance, tmp_path: Path) -> Iterator[Router]:
    """Its bodies have 2 MB together, so that one of 1 MB is taken at a time."""
    instance.play()
    path = static(tmp_path / "static.json", [service("m", instance.port, "m")])
    with router("--static-services", path, "--max-body", SECOND, "--max-buffered", 2 * SECOND) as own:
        yield own
        assert "Traceback" not in own.output()


def buffered(own: Router) -> float:
    lines = own.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("svc_router_buffered_bytes")).split()[1])


def test_a_large_body_waits_until_there_is_room(small: Router, instance: Instance):
    held: list[Peer] = []  # not instance.peers, which has the connections of health checks too

    def hold(peer: Peer, received: ReceivedRequest) -> None:
        held.append(peer)

    body = b'{"model": "m", "x": "%b"}' % (b"x" * 400_000)
    instance.play(hold)
    clients = [small.client() for _ in range(3)]
    clients[0].send(post(body))
    wait_until(lambda: held, description="the first one to be at the instance")
    for client in clients[1:]:
        client.send(post(body))
    assert len(instance.received) == 1
    assert buffered(small) == len(body)
    with small.client() as other:
        instance.script = ok
        assert other.send(post({"model": "m"})).answer().body == b"ok"
    clients[2].sock.close()
    held[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
    assert clients[0].answer().body == b"first"
    assert clients[1].answer().body == b"ok"
    wait_until(lambda: buffered(small) == 0, description="everything to be given back")


def test_bodies_that_arrive_with_their_heads_are_counted_too(small: Router, instance: Instance):
    held: list[Peer] = []
    instance.play(lambda peer, received: held.append(peer))
    body = b'{"model": "m", "x": "%b"}' % (b"x" * 100_000)
    with small.client() as first, small.client() as second:
        first.send(post(body))
        wait_until(lambda: held, description="the first one to be at the instance")
        second.send(post(body))
        assert buffered(small) == len(body)
        assert len(held) == 1, "the second one waits for memory"
        for client, answered in ((first, 1), (second, 2)):
            wait_until(lambda answered=answered: len(held) == answered, description="the next one to be there")
            held[-1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.answer().body == b"ok"
    wait_until(lambda: buffered(small) == 0, description="everything to be given back")


def test_a_whole_body_that_is_too_large_for_an_own_endpoint_is_refused(small: Router):
    for _ in range(4):
        with small.client() as client:
            answer = client.send(announced(100_000, path=b"/ui/drain/m") + b"x" * 100_000).answer()
            assert (answer.status, answer.error()["code"]) == (413, "request_too_large")


@pytest.mark.long
def test_a_body_that_stalls_gives_way_to_those_that_wait(small: Router):
    body = b'{"model": "m", "x": "%b"}' % (b"x" * 400_000)
    with small.client() as stalled, small.client() as other:
        stalled.send(announced(len(body)) + body[:-1])
        wait_until(lambda: buffered(small) > 300_000, description="the body to be counted")
        assert other.send(post(body)).answer().body == b"ok"
        answer = stalled.answer()
        assert (answer.status, answer.header(b"retry-after")) == (503, b"1")


# Loops.


def test_a_router_behind_itself_answers_508_and_a_chain_works(instance: Instance, tmp_path: Path):
    instance.play()
    port, words = free_port(), [str(BIN / "svc"), "router", "--host", "127.0.0.1"]
    services = [service("self", port, "loop"), service("m", instance.port, "m")]
    first = [*words, "--port", str(port), "--static-services", str(static(tmp_path / "first.json", services))]
    with running(first, port) as own:
        wait_until(own.ready, description="the router to be ready")
        second = static(tmp_path / "second.json", [service("first", port, "m")])
        with router("--static-services", second) as front, front.client() as client, own.client() as other:
            assert client.send(post({"model": "m"}, b"Via: 1.1 nginx")).answer().body == b"ok"
            hops = instance.received[-1].header(b"via").split(b", ")
            assert (len(set(hops)), hops[0]) == (3, b"1.1 nginx")
            answer = other.send(post({"model": "loop"})).answer()
            assert (answer.status, answer.error()["code"]) == (508, "loop_detected")
