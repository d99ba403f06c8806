"""GET /wake, POST /wake and POST /sleep."""

import dataclasses

import pytest
from werkzeug.test import Client

from svc.babysitter.app import create_app
from svc.babysitter.continuation_check import ContinuationCheck
from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.health_rules import UNKNOWN_LOAD
from svc.babysitter.on_demand.demands import WakeRequest
from svc.babysitter.registrar import Registrar
from svc.babysitter.resource_limits import ResourceLimits
from svc.babysitter.restarter import Restarter
from svc.base.errors import Unavailable
from svc.client.registry import RegistryClient
from svc.config.instance.model import MockBackend
from svc.supervision.on_demand.instance_facts import Demand, Order
from tests import openapi
from tests.unit.babysitter.fake_instance import FakeInstance
from tests.unit.babysitter.on_demand.fake_host import FakeHost
from tests.unit.instance_configs import instance_config


class Server:
    """The babysitter of `host`, or of an instance that no supervisord runs."""

    def __init__(self, host, monitor=None, key="") -> None:
        self.host, self.rounds = host, 0
        monitor = monitor or host.instance.monitor
        restarter = Restarter("qwen", None)
        self.client = Client(
            create_app(
                monitor,
                Registrar(RegistryClient(()), list, 10),
                HangProbe(monitor, lambda _: None, lambda _: UNKNOWN_LOAD, restarter),
                ResourceLimits(monitor, lambda: UNKNOWN_LOAD, restarter, lambda *_: 0),
                ContinuationCheck(monitor, lambda _: None, lambda: False),
                on_demand=host.loop if host else None,
                begin_round=self.begin_round,
                key=lambda: key,
            )
        )

    def begin_round(self) -> None:
        self.rounds += 1


@pytest.fixture
def server():
    host = FakeHost()
    host.advance()
    return Server(host)


def test_a_demand_is_noted_and_answered_at_once(server):
    answer = server.client.post("/wake", json={"waiting": 3, "oldest": 1.5, "by": "router-a"})
    assert (answer.status_code, server.rounds) == (202, 1)
    assert answer.json == {"status": "asleep", "reason": "", "wake_timeout": 600, "load_seconds": None}
    assert server.host.loop.facts.demands.current() == Demand(3, 1.5)


def test_a_renewal_does_not_begin_a_round_because_one_is_due_soon(server):
    for _ in range(5):
        server.client.post("/wake", json={"waiting": 3})
    assert server.rounds == 1


def test_what_it_waits_for_is_in_the_answer(server):
    server.client.post("/wake", json={"waiting": 3})
    server.host.orders = [Order("wait", "GPU 0: held by chat, busy")]
    server.host.advance()
    assert server.client.post("/wake", json={"waiting": 3}).json["reason"] == "GPU 0: held by chat, busy"


@pytest.mark.parametrize("body", [b"", b"{}", b"  "])
def test_an_empty_wake_keeps_it_awake(server, body):
    assert server.client.post("/wake", data=body).status_code == 202
    assert server.host.loop.facts.demands.current().hold == 600


@pytest.mark.parametrize("body", [b"[]", b"x", b'{"waiting": "many"}', b"\xff", b"[" * 50_000])
def test_a_body_that_is_no_demand_is_refused(server, body):
    answer = server.client.post("/wake", data=body)
    assert (answer.status_code, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert server.host.loop.facts.demands.current() is None


def test_an_offer_has_the_name_and_the_status(server):
    answer = server.client.get("/wake")
    assert answer.json.keys() >= {"name", "status", "possible", "now", "victims", "seconds", "idle_seconds", "reason"}
    assert (answer.json["name"], answer.json["status"], answer.json["possible"]) == ("qwen", "asleep", True)


def test_without_supervisord_s_answer_nothing_is_offered(server):
    def offer(name):
        raise Unavailable("no supervisord answers")

    server.host.offer = offer
    answer = server.client.get("/wake")
    assert (answer.status_code, answer.json["possible"], answer.json["reason"]) == (
        200,
        False,
        "no supervisord answers",
    )


def test_sleep_is_noted(server):
    server.host.start()
    answer = server.client.post("/sleep")
    assert (answer.status_code, answer.json["status"], server.rounds) == (202, "running", 1)
    server.host.advance()
    assert server.host.facts.sleep


@pytest.mark.parametrize(
    ("monitor", "code"),
    [
        (FakeInstance().monitor, "not_on_demand"),
        (FakeInstance(instance_config(on_demand=True)).monitor, "not_supervised"),
    ],
)
def test_an_instance_that_cannot_sleep_says_why(monitor, code):
    client = Server(None, monitor).client
    for path in ("/wake", "/sleep"):
        answer = client.post(path)
        assert (answer.status_code, answer.json["error"]["code"]) == (409, code)
    assert client.get("/wake").json["possible"] is False


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "secret"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer secret"}, 202),
    ],
)
def test_an_instance_with_a_key_wants_it_for_both_posts(header, status):
    host = FakeHost(backend=MockBackend(models=("a",), api_key_file="key"))
    host.advance()
    client = Server(host, key="secret").client
    assert client.post("/wake", headers=header).status_code == status
    assert client.post("/sleep", headers=header).status_code == status
    assert client.get("/wake").status_code == 200


def test_a_key_file_without_a_key_admits_nobody():
    host = FakeHost(backend=MockBackend(models=("a",), api_key_file="key"))
    assert Server(host, key="").client.post("/wake", headers={"Authorization": "Bearer "}).status_code == 401


def test_health_info_and_metrics_of_an_instance_that_is_asleep(server):
    health = server.client.get("/health")
    assert (health.status_code, health.json["status"]) == (503, "asleep")
    info = server.client.get("/info").json
    assert (info["state"], info["models"], info["on_demand"]["loads"]) == ("asleep", ["a"], 0)
    metrics = server.client.get("/metrics").get_data(as_text=True)
    assert "svc_babysitter_asleep 1.0" in metrics
    assert "svc_babysitter_load_seconds" not in metrics


def test_info_and_metrics_after_a_wake_and_a_sleep(server):
    host = server.host
    host.loop.facts.wake(WakeRequest(waiting=2, by="a"))
    host.advance()
    host.start()
    info = server.client.get("/info").json["on_demand"]
    assert info["woken"]["reason"].startswith("2 requests waited")
    assert (info["loads"], info["load_seconds"], info["in_flight"]) == (1, 0.0, 0)
    metrics = server.client.get("/metrics").get_data(as_text=True)
    assert "svc_babysitter_asleep 0.0" in metrics
    assert "svc_babysitter_loads_total 1.0" in metrics
    assert "svc_babysitter_load_seconds 0.0" in metrics


def test_the_answers_are_as_the_openapi_document_describes_them(server):
    described = server.client.get("/openapi.json").get_json()
    for path in ("/health", "/info", "/wake"):
        openapi.check(described, "GET", path, server.client.get(path))
    openapi.check(described, "POST", "/wake", server.client.post("/wake", json={"waiting": 1}))
    openapi.check(described, "POST", "/sleep", server.client.post("/sleep"))
    openapi.check(described, "POST", "/wake", server.client.post("/wake", data=b"x"))
    config = dataclasses.replace(server.host.instance.monitor.config, on_demand=False)
    unsuited = Server(None, FakeInstance(config).monitor).client
    openapi.check(described, "POST", "/sleep", unsuited.post("/sleep"))
