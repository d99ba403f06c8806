import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from svc.config.upstream_keys import UpstreamKeys
from svc.router.balance.target import Target
from svc.router.sources.static_check import BABYSITTER_RETRY_SECONDS, StaticCheck, is_babysitter
from tests.unit.router.examples import Clock, state, target
from tests.waiting import free_port_pair

BABYSITTER = {"status": "healthy", "service": "q", "babysitter": "running"}


class Server(ThreadingHTTPServer):
    """A server that answers 200 with the JSON of `answers` for a path, otherwise 404; `paths` are those requested."""

    def __init__(self, port: int) -> None:
        self.answers: dict[str, object] = {}
        self.statuses: dict[str, int] = {}  # in place of those
        self.paths: list[str] = []
        self.keys: set[str | None] = set()
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.keys.add(self.headers["Authorization"])
        answer = self.server.answers.get(self.path)
        self.send_response(self.server.statuses.get(self.path, 404 if answer is None else 200))
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


class World:
    """A static service, and the server on the port after its own."""

    def __init__(self, discovers_models: bool) -> None:
        port = free_port_pair()
        self.own, self.beside = Server(port), Server(port + 1)
        for server in (self.own, self.beside):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.clock = Clock()
        self.state = state(
            target("a", port=port, url=f"http://127.0.0.1:{port}", static=True, discovers_models=discovers_models)
        )
        self.check = StaticCheck(self.state, self.clock, 5, True)

    @property
    def target(self) -> Target:
        return self.state.balancer.table.targets[0]

    def turn(self) -> bool:
        return self.check(self.target)

    def close(self) -> None:
        for server in (self.own, self.beside):
            server.shutdown()
            server.server_close()


@pytest.fixture
def make() -> Iterator:
    worlds = []

    def make(discovers_models: bool = True) -> World:
        worlds.append(World(discovers_models))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def models(*names: str) -> dict[str, object]:
    return {"object": "list", "data": [{"id": name, "max_model_len": 7} for name in names]}


def test_a_babysitter_on_the_next_port_is_recognized_by_its_answer(make):
    world = make()
    assert world.target.babysitter_url is None
    world.beside.answers["/health"] = BABYSITTER
    world.own.answers["/health"] = None
    assert world.turn()
    assert world.target.babysitter_url == f"http://127.0.0.1:{world.target.port + 1}"
    assert "/health" not in world.own.paths


def test_another_program_on_the_next_port_is_asked_once_a_minute(make):
    world = make()
    for _ in range(5):
        assert world.turn()
    assert world.target.babysitter_url is None
    assert world.beside.paths == ["/health"]
    world.beside.answers["/health"] = BABYSITTER
    world.clock.now += BABYSITTER_RETRY_SECONDS
    world.turn()
    assert world.target.babysitter_url is not None


def test_models_missing_in_the_file_are_taken_from_the_service(make):
    world = make()
    world.turn()
    assert world.target.models == ()
    world.own.answers["/v1/models"] = models("m", "n")
    world.turn()
    assert world.target.models == ("m", "n")
    assert world.target.metadata["models_list"][0]["max_model_len"] == 7
    assert world.state.balancer.table.serves("n")
    world.own.answers["/v1/models"] = models("n")
    world.turn()
    assert not world.state.balancer.table.serves("m")


def test_only_the_service_itself_is_sent_its_key(make):
    world = make()
    world.state.set_upstream_keys(UpstreamKeys({"a": "secret"}))
    world.own.answers["/v1/models"] = models("m")
    assert world.turn()
    assert world.own.keys == {"Bearer secret"}
    assert world.beside.keys == {None}


@pytest.mark.parametrize(("key", "message"), [("", "wants an API key"), ("old", "refuses the API key")])
def test_a_refused_key_is_logged_once(make, caplog, key: str, message: str):
    world = make()
    world.own.statuses["/v1/models"] = 401
    world.state.set_upstream_keys(UpstreamKeys({"a": key} if key else {}))
    for _ in range(3):
        world.turn()
    (line,) = caplog.messages
    assert f"a {message}" in line
    assert "upstream_keys_file" in line
    assert "old" not in line


def test_the_last_model_list_is_kept_while_there_is_no_new_one(make):
    world = make()
    world.own.answers["/models"] = models("m")
    world.turn()
    world.own.answers["/models"] = None
    world.turn()
    assert world.target.models == ("m",)


def test_a_discovery_is_kept_until_its_service_is_removed(make):
    world = make()
    world.own.answers["/v1/models"] = models("m")
    world.turn()
    fresh = target("a", port=world.target.port, url=world.target.url, static=True, discovers_models=True)
    world.state.replace_targets([fresh])
    assert world.target.models == ("m",)
    world.state.replace_targets([])
    assert world.state.discoveries == {}


def test_only_the_first_models_of_a_long_list_are_used(make, caplog):
    world = make()
    world.own.answers["/v1/models"] = models(*map(str, range(300)))
    world.turn()
    world.turn()
    assert world.target.models == tuple(map(str, range(256)))
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "a lists 300 models; only the first 256 are used"
    ]


def test_a_service_without_models_is_logged_once(make, caplog):
    world = make(discovers_models=True)
    for _ in range(2):
        world.turn()
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "name them in metadata.models of its entry" in record.getMessage()


def test_a_service_whose_file_names_models_is_not_asked_for_them(make):
    world = make(discovers_models=False)
    world.own.answers["/v1/models"] = models("m")
    world.turn()
    assert world.own.paths == ["/health"]


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"status": "ok"}', b'{"service": "x"}', b"\xff"])
def test_other_answers_are_not_those_of_a_babysitter(body):
    assert not is_babysitter(body)
