"""nginx directly in front of instances: its upstream has those that are healthy in the registry."""

import json
import threading
from collections.abc import Iterator

import pytest

from tests.integration.nginx.server import Nginx
from tests.integration.registry.process import Registry
from tests.integration.router.client import post
from tests.integration.router.event_streams import one_by_one
from tests.integration.router.instance import Instance, Peer, ReceivedRequest


def named(name: str):
    def script(peer: Peer, received: ReceivedRequest) -> None:
        body = json.dumps(name).encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return script


@pytest.fixture(autouse=True)
def straight(nginx: Nginx) -> None:
    nginx.settings('upstream = "instances"')


@pytest.fixture
def registry(tmp_path) -> Iterator[Registry]:
    made = Registry(tmp_path, "--store", f"sqlite:{tmp_path}/registry.db").start()
    yield made
    made.end()


@pytest.fixture
def instances(registry: Registry) -> Iterator[dict[str, Instance]]:
    made = {name: Instance() for name in ("a-server", "b-server")}
    for name, instance in made.items():
        instance.play(named(name))
        registry.client.register(
            {
                "name": name,
                "host": "127.0.0.1",
                "port": instance.port,
                "hostname": "h",
                "status": "running",
                "url": f"http://127.0.0.1:{instance.port}",
                "metadata": {"type": "openai-api", "models": ["m"]},
            }
        )
    yield made
    for instance in made.values():
        instance.close()


def answering(front: Nginx) -> set[str]:
    with front.client() as client:
        return {json.loads(client.send(post({"model": "m"})).answer().body) for _ in range(8)}


def test_rendering_again_removes_a_drained_instance(nginx: Nginx, registry: Registry, instances):
    flags = ("--from-registry", "--registry-url", registry.client.urls[0])
    assert nginx.render(*flags) == "nginx/server.conf: new\nnginx/upstream.conf: new\n"
    nginx.start()
    assert answering(nginx) == {"a-server", "b-server"}
    assert nginx.render(*flags) == "", "nothing has changed"

    registry.client.drain("a-server")
    assert nginx.svc("render", "--nginx", *flags, "--check").returncode == 1
    assert nginx.render(*flags) == "nginx/upstream.conf: changed\n"
    nginx.reload()
    assert answering(nginx) == {"b-server"}

    registry.client.drain("b-server")
    before = (nginx.place / "nginx" / "upstream.conf").read_bytes()
    done = nginx.svc("render", "--nginx", *flags)
    assert (done.returncode, done.stderr) == (
        1,
        "svc: the registry has no healthy instance; what is there is left as it is\n",
    )
    assert (nginx.place / "nginx" / "upstream.conf").read_bytes() == before

    registry.client.drain("a-server", drained=False)
    nginx.render(*flags)
    nginx.reload()
    assert answering(nginx) == {"a-server"}

    registry.end()
    done = nginx.svc("render", "--nginx", *flags)
    assert done.returncode == 1
    assert done.stderr.startswith("svc: cannot list the instances: cannot reach the registry: ")
    assert done.stderr.count("\n") == 1


def test_each_event_arrives_before_the_next_is_sent(nginx: Nginx, registry: Registry, instances):
    """nginx does so although the instance does not request it."""
    arrived = threading.Event()
    for instance in instances.values():
        instance.play(one_by_one(arrived, 3, patience=10))
    nginx.render("--from-registry", "--registry-url", registry.client.urls[0])
    nginx.reload() if nginx.process else nginx.start()
    with nginx.client() as client:
        client.send(post({"model": "m", "stream": True})).head()
        for n in range(3):
            assert client.chunk() == b"data: %d\n\n" % n
            arrived.set()
        assert client.chunk() == b""


def test_a_token_is_never_in_the_files(nginx: Nginx, tmp_path, instances, registry: Registry):
    (tmp_path / "token").write_text("open-sesame")
    flags = ("--from-registry", "--registry-url", registry.client.urls[0], "--token-file", str(tmp_path / "token"))
    nginx.render(*flags)
    assert all("open-sesame" not in path.read_text() for path in (nginx.place / "nginx").iterdir())
