"""Instances with an API key of their own: each gets its key, and no client's credentials."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.router.client import Answer, get, post
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.tunnels import UPGRADE, echoes
from tests.waiting import wait_until

KEYS = '[instances]\na = "key-of-a"\nlisted = "key-of-listed"\n[models]\n"org/m2" = "key-of-m2"\n'
CREDENTIALS = (b"Authorization: Bearer client", b"x-api-key: client", b"Api-Key: client", b"Cookie: client=1")
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}"


class Pool(NamedTuple):
    router: Router
    keys: Path
    instances: dict[str, Instance]

    def ask(self, model: str, *headers: bytes) -> Answer:
        with self.router.client() as client:
            return client.send(post({"model": model}, *headers)).answer()


def lists(peer: Peer, received: ReceivedRequest) -> None:
    """Lists a model for those that show the key."""
    shown = received.header(b"authorization") == b"Bearer key-of-listed"
    body = b'{"data": [{"id": "by-list"}]}'
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) if shown else UNAUTHORIZED)


def refuses(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(UNAUTHORIZED)


def wants(key: bytes):
    def script(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(OK if received.header(b"authorization") == b"Bearer " + key else UNAUTHORIZED)

    return script


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """`a` has a key by its name, `b` by its second model, `open` none; `listed` is asked for its models."""
    root = tmp_path_factory.mktemp("upstream")
    instances = {name: Instance() for name in ("a", "b", "open", "listed")}
    instances["listed"].play(lists)
    models = {"a": ("a", "ab", "a-open"), "b": ("lora", "org/m2", "ab"), "open": ("open", "a-open")}
    services = [service(name, instances[name].port, *names) for name, names in models.items()]
    services.append({"name": "listed", "host": "127.0.0.1", "port": instances["listed"].port})
    keys = root / "upstream.toml"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    flags = ("--static-services", static(root / "static.json", services), "--upstream-keys-file", keys)
    with router(*flags, "--policy", "round_robin", "--max-errors", 1000, "--aliases", "short=org/m2") as own:
        yield Pool(own, keys, instances)
        assert "Traceback" not in own.output()
        assert "key-of" not in own.output()
    for instance in instances.values():
        instance.close()


@pytest.fixture
def pool(running: Pool) -> Pool:
    for name in ("a", "b", "open"):
        running.instances[name].play()
    return running


def credentials(received: ReceivedRequest) -> dict[bytes, list[bytes]]:
    names = (b"authorization", b"x-api-key", b"api-key", b"cookie")
    return {name: values for name in names if (values := received.all(name))}


@pytest.mark.parametrize(("model", "name", "key"), [("a", "a", b"key-of-a"), ("short", "b", b"key-of-m2")])
@pytest.mark.parametrize("headers", [(), CREDENTIALS])
def test_an_instance_gets_its_key_and_nothing_of_the_client(pool: Pool, model, name, key, headers):
    for _ in range(2):  # the second time the head is recognized
        assert pool.ask(model, *headers).status == 200
    for received in pool.instances[name].received:
        assert credentials(received) == {b"authorization": [b"Bearer " + key]}


def test_an_instance_without_a_key_gets_what_the_client_sent(pool: Pool):
    assert pool.ask("open", *CREDENTIALS).status == 200
    (received,) = pool.instances["open"].received
    assert len(credentials(received)) == 4


def test_a_tunnel_is_opened_with_the_key_of_the_instance(pool: Pool):
    pool.instances["a"].play(echoes)
    protocols = b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.client"
    with pool.router.client() as client:
        assert client.send(get(b"/v1/realtime?model=a", *UPGRADE, CREDENTIALS[0], protocols)).head()[0] == 101
    (received,) = pool.instances["a"].received
    assert credentials(received) == {b"authorization": [b"Bearer key-of-a"]}
    assert received.header(b"sec-websocket-protocol") == b"realtime"


def test_another_instance_gets_its_own_key_after_the_first_refused(pool: Pool):
    pool.instances["a"].play(refuses)
    answers = [pool.ask("ab", CREDENTIALS[0]) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert {h.header(b"authorization") for h in pool.instances["a"].received} == {b"Bearer key-of-a"}
    assert {h.header(b"authorization") for h in pool.instances["b"].received} == {b"Bearer key-of-m2"}


def test_an_instance_without_a_key_gets_none_of_the_one_that_refused(pool: Pool):
    pool.instances["a"].play(refuses)
    assert [pool.ask("a-open").status for _ in range(2)] == [200, 200]
    assert [credentials(received) for received in pool.instances["open"].received] == [{}, {}]


def test_a_wrong_key_is_a_fault_of_the_router_and_not_of_the_client(pool: Pool):
    pool.instances["a"].play(refuses)
    answer = pool.ask("a", CREDENTIALS[0])
    assert answer.status == 502
    assert answer.header(b"www-authenticate") is None
    assert "upstream_keys_file" in answer.error()["message"]
    assert "a: it refuses the API key" in pool.router.output()


def test_a_401_to_the_clients_own_credentials_is_the_clients(pool: Pool):
    pool.instances["open"].play(refuses)
    answer = pool.ask("open", CREDENTIALS[0])
    assert (answer.status, answer.header(b"www-authenticate")) == (401, b"Bearer")


def test_models_are_discovered_with_the_key(pool: Pool):
    assert pool.router.service("listed")["models"] == ["by-list"]


def test_a_changed_file_is_followed_and_a_broken_one_is_not(pool: Pool):
    pool.instances["a"].play(wants(b"rotated"))
    assert pool.ask("a").status == 502
    pool.keys.write_text(KEYS.replace("key-of-a", "rotated"))
    wait_until(lambda: pool.ask("a").status == 200, description="the new key is sent")
    pool.keys.write_text("[instances]\na = ")
    os.utime(pool.keys, (1, 1))
    wait_until(lambda: "its last good content stays in use" in pool.router.output(), description="the log says so")
    assert pool.ask("a").status == 200
    pool.keys.write_text(KEYS)
    pool.instances["a"].play(wants(b"key-of-a"))
    wait_until(lambda: pool.ask("a").status == 200, description="the first key is sent again")


def test_no_endpoint_shows_a_key(pool: Pool):
    for path in ("/services", "/stats", "/metrics", "/models", "/health"):
        assert "key-of" not in pool.router.get(path).text
