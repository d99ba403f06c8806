"""A router in front of instances on demand, whose babysitters are fakes."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.integration.router.client import Answer, Client, post
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.on_demand import OnDemand
from tests.integration.router.registry import Registry, registry
from tests.integration.router.registry import instance as listed
from tests.integration.router.routers import Router, router
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def fake() -> Iterator[Registry]:
    with registry() as made:
        yield made


@pytest.fixture(scope="module")
def both(fake: Registry) -> Iterator[list[Router]]:
    """Two routers of one registry; in the second, three processes relay."""
    flags = ("--registry-url", fake.url, "--registry-sync-interval", 0.1, "--service-removal-grace-period", 0)
    flags += ("--queue-size", 300, "--queue-timeout", 5)
    with router(*flags, "--workers", 1) as first, router(*flags, "--workers", 3) as second:
        yield [first, second]
        first.assert_no_exception()
        second.assert_no_exception()


@pytest.fixture(params=[0, 1], ids=["one process", "three processes"])
def relay(request: pytest.FixtureRequest, both: list[Router]) -> Router:
    return both[request.param]


@pytest.fixture
def sleepers(fake: Registry) -> Iterator[list[OnDemand]]:
    made: list[OnDemand] = []
    yield made
    for sleeper in made:
        sleeper.close()
    fake.services.clear()
    fake.index += 1


def put_in_table(relay: Router, *sleepers: OnDemand) -> None:
    """Wait until the router knows these instances, and no others, as the registry lists them."""
    listed = {(sleeper.name, sleeper.engine.port, sleeper.entry["status"]) for sleeper in sleepers}

    def known() -> set[tuple[str, int, str]]:
        services = relay.get("/services").json()["services"]
        return {(service["name"], service["port"], service["status"]) for service in services}

    wait_until(lambda: known() == listed, description=lambda: f"{listed}, not {known()}")


def ask(relay: Router, model: str, **more: object) -> Answer:
    with Client(relay.port) as client:
        client.sock.settimeout(30)
        return client.send(post({"model": model, **more}, b"Content-Type: application/json")).answer()


def test_two_routers_and_200_clients_wake_one_instance_once(
    both: list[Router], fake: Registry, sleepers: list[OnDemand]
):
    a, b = OnDemand(fake, "a", "m", load=1.2), OnDemand(fake, "b", "m", load=1.2)
    sleepers += [a, b]
    b.offer = {"possible": True, "now": True, "seconds": 0.9}
    for relay in both:
        put_in_table(relay, a, b)
        assert relay.get("/v1/models").json()["data"][0]["asleep"] is True
        assert relay.get("/stats").json()["asleep"] == 2
    clients = [Client(both[number % 2].port) for number in range(200)]
    sent = time.monotonic()
    for client in clients:
        client.send(post({"model": "m"}))
    for client in clients:
        client.sock.settimeout(20)
        assert client.answer().status == 200
        client.sock.close()
    assert (a.starts, b.starts) == (0, 1)
    assert b.demands[0][0] - sent < 1
    assert len({fields["by"] for _, fields in b.demands}) == 2
    assert max(fields["waiting"] for _, fields in b.demands) > 1
    assert "asleep" not in both[0].get("/v1/models").json()["data"][0]


def stream_script(peer: Peer, received: ReceivedRequest) -> None:
    """Stream an answer, or refuse a request whose body has `bad`."""
    if b"bad" in received.body:
        error = b'{"error": {"message": "too long", "type": "invalid_request_error", "code": "context"}}'
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        peer.send(head % len(error) + error)
    elif b"text" in received.body:
        peer.send(OK)
    else:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        peer.send(chunk(b"data: 2\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


UNREADY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
COMMENT = b": the model is being woken\n\n"


def test_streams_that_wait_get_comments_and_then_the_answer(relay: Router, fake: Registry, sleepers: list[OnDemand]):
    a = OnDemand(fake, "a", "m", load=3.6)
    sleepers.append(a)
    a.engine.play(stream_script)
    put_in_table(relay, a)
    bodies = {
        "stream": post({"model": "m", "stream": True}),
        "bad": post({"model": "m", "stream": True, "user": "bad"}),
        "anthropic": post({"model": "m", "stream": True, "user": "bad"}, path=b"/v1/messages"),
        "text": post({"model": "m", "stream": True, "user": "text"}, path=b"/v1/responses"),
        "whole": post({"model": "m", "user": "text"}),
        "old": post({"model": "m", "user": "text", "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0"),
    }
    clients = {name: Client(relay.port).send(body) for name, body in bodies.items()}
    begun = time.monotonic()
    status, _, headers = clients["stream"].head()
    assert (status, dict(headers)[b"Content-Type"]) == (200, b"text/event-stream; charset=utf-8")
    assert clients["stream"].chunk() == COMMENT
    assert 1.9 < time.monotonic() - begun < 3.5
    assert b"".join(iter(clients["stream"].chunk, b"")) == b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    answers = {name: clients[name].answer() for name in bodies if name != "stream"}
    for client in clients.values():
        client.sock.close()
    assert answers["whole"].body == answers["old"].body == b"ok"
    assert last_error(answers["bad"].body)["code"] == "context"
    assert answers["bad"].body.startswith(COMMENT + b"data: ")
    message = json.loads(answers["anthropic"].body.split(b"data: ")[1])
    assert answers["anthropic"].body.startswith(COMMENT + b"event: error\ndata: ")
    assert message["error"] == {
        "type": "api_error",
        "message": "the instance answered 400: too long instead of an event stream",
    }
    assert last_error(answers["text"].body)["message"].startswith("the instance answered 200 ")


def test_a_wake_that_is_impossible_fails_at_once(relay: Router, fake: Registry, sleepers: list[OnDemand]):
    a, b = OnDemand(fake, "a", "m"), OnDemand(fake, "b", "m")
    sleepers += [a, b]
    a.offer = {"possible": False, "reason": "needs 38 GB on 1 GPU; host-a GPU 0 has 24 GB"}
    b.offer = {"possible": False, "reason": "needs 38 GB on 1 GPU; host-b GPU 0 has 16 GB"}
    put_in_table(relay, a, b)
    begun = time.monotonic()
    answer = ask(relay, "m")
    assert time.monotonic() - begun < 5
    assert (answer.status, answer.error()["code"]) == (503, "model_asleep")
    assert answer.header(b"retry-after") == b"60"
    assert answer.error()["message"] == (
        "model 'm' is asleep, and none of its instances can be woken: needs 38 GB on 1 GPU; host-a GPU 0 has 24 GB; "
        "needs 38 GB on 1 GPU; host-b GPU 0 has 16 GB"
    )
    assert a.starts == b.starts == 0


def test_hostile_answers_are_refused_and_the_error_says_why(relay: Router, fake: Registry, sleepers: list[OnDemand]):
    a = OnDemand(fake, "a", "m", wake_timeout=1.5)
    b, c = OnDemand(fake, "b", "m", wake_timeout=1), OnDemand(fake, "c", "m", wake_timeout=1)
    sleepers += [a, b, c]
    a.wakes = False
    a.answer = (202, {"status": "asleep", "reason": "GPU 0 has 12 GB free,\x1b held by chat, busy"})
    a.offer = {"possible": True, "seconds": 9}
    b.offer = b'{"possible": true, "now": true, "pad": "' + b"x" * (1 << 20) + b'"}'
    c.offer = {"possible": True, "now": True, "name": "another"}
    put_in_table(relay, a, b, c)
    with Client(relay.port) as gone:
        gone.send(post({"model": "m"}))
        wait_until(lambda: a.demands, description="a demand")
    answer = ask(relay, "m")
    message = answer.error()["message"]
    assert answer.status == 503
    reason = "GPU 0 has 12 GB free,\ufffd held by chat, busy"
    assert message == f"model 'm' is asleep, and no instance of it was awake within 1.5 s: {reason}"
    assert (b.demands, c.demands) == ([], [])
    assert relay.get("/stats").json()["waiting"] == 0
    demands = len(a.demands)
    time.sleep(1.2)
    assert len(a.demands) == demands, "demands end with the last request"


@pytest.mark.parametrize("refuses", ["the connection", "the request"])
def test_an_instance_that_falls_asleep_under_a_request_is_woken(
    relay: Router, fake: Registry, sleepers: list[OnDemand], refuses: str
):
    a = OnDemand(fake, "a", "m", load=0.5)
    sleepers.append(a)
    a.set_status("running")
    put_in_table(relay, a)
    port = a.engine.port
    if refuses == "the connection":
        a.engine.stop_listening()
        a.engine.hang_up()
    else:
        a.engine.play(lambda peer, received: peer.send(UNREADY))
    timer = threading.Timer(0.5, a.set_status, ("asleep",))
    timer.start()
    with Client(relay.port) as client:
        client.sock.settimeout(20)
        client.send(post({"model": "m"}))
        wait_until(lambda: a.starts, description="the wake")
        if refuses == "the connection":
            a.engine = Instance(port)
        a.engine.play()
        assert client.answer().status == 200
    timer.join()


def test_an_operator_wakes_and_puts_to_sleep(relay: Router, fake: Registry, sleepers: list[OnDemand]):
    a, b = OnDemand(fake, "a", "m"), OnDemand(fake, "b", "m")
    sleepers += [a, b]
    fake.services.append(listed("always", a.engine.port, "other"))
    fake.index += 1
    a.wakes = False
    b.offer = {"possible": True, "now": False, "seconds": 1}
    ports = {a.engine.port, b.engine.port}
    wait_until(lambda: ports == {s["port"] for s in relay.get("/services").json()["services"]}, description="the table")

    def do(path: str, **fields: object) -> requests.Response:
        return requests.post(relay.url + path, json=fields or None, timeout=10)

    woken = do("/models/m/wake", hold=7)
    assert (woken.status_code, woken.json()["name"]) == (202, "a")
    assert (a.demands[-1][1]["hold"], a.demands[-1][1]["waiting"]) == (7, 0)
    offer = relay.get("/ui/wake/b").json()  # for the page's dialog
    assert offer == {"name": "b", "possible": True, "now": False, "reason": ""}
    assert relay.get("/ui/wake/always").status_code == 409
    assert not b.demands, "it wakes nothing"
    assert do("/instances/b/wake").json()["name"] == "b"
    assert b.demands[-1][1]["hold"] == 20, "by default as long as a wake may take"
    assert do("/instances/b/sleep").status_code == 202
    assert len(b.sleeps) == 1
    b.answer = (409, {"error": {"message": "it is kept awake"}})
    refused = do("/instances/b/sleep")
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, "b: it is kept awake")
    assert do("/instances/always/wake").status_code == 409
    assert do("/instances/nobody/wake").status_code == 404
    assert do("/models/unknown/wake").status_code == 404
    assert do("/models/m/wake", hold=-1).status_code == 400

    def kinds() -> list[tuple[str, str]]:
        return [(event["kind"], event["service"]) for event in fake.events]

    wait_until(
        lambda: ("sleep", "b") in [(e["kind"], e["service"]) for e in fake.events], description=f"events: {kinds}"
    )
