import time
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from svc.router.app import create_app
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import Origin
from svc.router.state import RouterState
from tests.unit.router.examples import Clock, state, target


@pytest.fixture
def router() -> RouterState:
    listed = [{"id": "m", "object": "model", "created": 5, "owned_by": "vllm", "max_model_len": 9}]
    return state(
        target("a", "m", "n", metadata={"models_list": listed}, weight=2),
        target("b", "m", metadata={"models_list": "nonsense"}),
        target("c", "org/other", metadata={"models_list": [7, {"id": []}, None]}),
        target("d", "gone", status="failed"),
        registry_url="http://r:1",
    )


@pytest.fixture
def client(router: RouterState) -> FlaskClient:
    return create_app(router).test_client()


def json(client: FlaskClient, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.get_json()


@pytest.mark.parametrize("path", ["/health", "/status"])
def test_health_reports_the_router_and_its_table(client: FlaskClient, router: RouterState, path: str):
    router.origin = Origin("registry", router.clock() - 2.5)
    payload = json(client, path)
    assert payload.pop("timestamp").endswith("Z")
    assert payload == {
        "status": "healthy",
        "router": "running",
        "healthy_services": "3/4",
        "registry_url": "http://r:1",
        "table_source": "registry",
        "table_age_seconds": 2.5,
        "message": "3 of 4 instances can be used",
    }
    router.replace_targets([])
    router.origin = None
    payload = json(client, path)
    assert (payload["status"], payload["table_source"], payload["table_age_seconds"]) == ("degraded", None, None)


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
def test_each_model_is_listed_once(client: FlaskClient, path: str):
    payload = json(client, path)
    assert payload["object"] == "list"
    assert [m["id"] for m in payload["data"]] == ["m", "n", "org/other"]
    assert payload["data"][0] == {"id": "m", "object": "model", "created": 5, "owned_by": "vllm", "max_model_len": 9}
    assert payload["data"][1] == {"id": "n", "object": "model", "created": 0, "owned_by": "a"}


def test_a_browser_at_the_root_gets_the_page(client: FlaskClient):
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["Location"], answer.headers["Vary"]) == (302, "/ui", "Accept")
    refused = client.get("/", headers={"Accept": "*/*"})
    assert refused.status_code == 404
    assert refused.get_json()["error"]["message"] == "GET / is not relayed; did you mean GET /ui?"


def test_a_model_is_returned_by_its_id(client: FlaskClient):
    assert json(client, "/v1/models/m")["id"] == "m"
    assert json(client, "/v1/models/org/other")["id"] == "org/other"
    assert json(client, "/v1/models/gone", 404)["error"]["code"] == "model_not_found"
    json(client, "/v1/models//m", 404)  # and no redirect


def test_every_listed_model_is_returned_by_its_id():
    ids = ["/data/models/qwen", "//x", "a/b c", "é%2F", "m?x=1#y", "trailing/"]
    router = state(target("a", *ids))
    router.ready = True
    client = create_app(router).test_client()
    assert sorted(model["id"] for model in json(client, "/v1/models")["data"]) == sorted(ids)
    for name in ids:
        assert json(client, "/v1/models/" + quote(name, safe="/"))["id"] == name
        assert json(client, "/v1/models/" + quote(name, safe=""))["id"] == name


def test_the_listed_models_are_those_that_requests_get():
    """A model whose only instance fails its checks is tried all the same, so it is listed."""
    router = state(target("a", "m", "both"), target("b", "both"))
    for _ in range(router.settings.max_errors):
        router.balancer.record_check("a", passed=False)
    client = create_app(router).test_client()
    listed = {model["id"]: model["owned_by"] for model in json(client, "/v1/models")["data"]}
    assert listed == {"m": "a", "both": "b"}
    for name in listed:
        assert router.balancer.pick(RoutingRequest(name))


def test_models_that_are_asleep_are_listed_and_counted():
    asleep = {"on_demand": True, "models_list": [{"id": "m", "max_model_len": 9}]}
    router = state(
        target("a", "m", "n", status="asleep", metadata=asleep),
        target("b", "n"),
        target("c", "o", status="asleep", metadata=asleep, drained=True),
        aliases=(("alias", "m"),),
    )
    client = create_app(router).test_client()
    listed = {entry["id"]: entry for entry in client.get("/v1/models").get_json()["data"]}
    assert {name: entry.get("asleep") for name, entry in listed.items()} == {"m": True, "n": None, "alias": True}
    assert listed["m"]["max_model_len"] == 9
    assert client.get("/v1/models/o").status_code == 404
    assert client.get("/stats").get_json()["asleep"] == 2
    router.replace_targets(router.balancer.table.targets[:1])
    assert client.get("/health").get_json()["status"] == "healthy"


def test_services_have_their_counts(client: FlaskClient, router: RouterState):
    router.balancer.begin_attempt(target("a"))
    router.balancer.end_attempt(target("a"), 0.5, failed=True)
    router.balancer.begin_attempt(target("a"))
    payload = json(client, "/services")
    assert (payload["total"], payload["registry_url"]) == (4, "http://r:1")
    first = payload["services"][0]
    del first["metadata"]
    assert first == {
        "name": "a",
        "host": "127.0.0.1",
        "port": 8100,
        "url": "http://a:8100",
        "babysitter_url": "http://a:8101",
        "healthy": True,
        "ejected": False,
        "failing": False,
        "last_check": 0.0,
        "status": "running",
        "drained": False,
        "request_count": 1,
        "error_count": 1,
        "response_time": 0.5,
        "in_flight": 1,
        "load": None,
        "weight": 2,
        "models": ["m", "n"],
    }
    assert not payload["services"][3]["healthy"]


def test_the_time_of_the_last_check_is_in_unix_seconds():
    clock = Clock()
    router = state(target("a", "m"), target("b", "m"), clock=clock)
    router.balancer.record_check("a", passed=True)
    clock.now += 60
    router.balancer.record_check("b", passed=False)
    before = time.time()
    first, second = json(create_app(router).test_client(), "/stats")["services"]
    assert before - 60 <= first["last_check"] + 0.001 <= time.time() - 59.99
    assert before <= second["last_check"] + 0.001 <= time.time() + 0.01


def test_stats_and_metrics_have_the_same_counts(client: FlaskClient, router: RouterState):
    for _ in range(3):
        router.balancer.begin_attempt(target("b"))
        router.balancer.end_attempt(target("b"), 0.5, failed=False)
    router.balancer.begin_attempt(target("b"))
    payload = json(client, "/stats")
    assert (
        payload["total_services"],
        payload["healthy_services"],
        payload["total_requests"],
        payload["in_flight"],
    ) == (4, 3, 3, 1)
    assert payload["registry_url"] == "http://r:1"
    lines = client.get("/metrics").text.splitlines()
    assert 'svc_router_attempts_total{instance="b"} 3.0' in lines
    assert 'svc_router_requests_in_flight{instance="b"} 1.0' in lines
    assert 'svc_router_instance_up{instance="d"} 0.0' in lines


def test_liveness_and_readiness(client: FlaskClient, router: RouterState):
    assert json(client, "/livez") == {"status": "alive"}
    json(client, "/readyz", 503)
    router.ready = True
    json(client, "/readyz")
    router.draining = True
    assert json(client, "/readyz", 503) == {"status": "draining"}


def test_head_is_answered(client: FlaskClient):
    assert client.head("/health").status_code == 200


def test_the_error_of_a_request_has_its_id(client: FlaskClient):
    answer = client.post("/v1/chat/completions", json={"model": "x"}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (503, "mine")
    assert answer.get_json()["error"]["message"] == "No healthy services available for model 'x'"


def test_a_body_over_the_limit_is_413():
    app = create_app(state(target("a", "m"), max_body=1024))
    assert app.test_client().post("/v1/chat/completions", data=b"x" * 1025).status_code == 413


@pytest.mark.parametrize(
    ("networks", "address", "forwarded", "status"),
    [
        ("", "10.1.2.3", "", 200),
        ("10.0.0.0/8", "10.1.2.3", "", 200),
        ("10.0.0.0/8", "127.0.0.1", "", 200),
        ("10.0.0.0/8", "192.0.2.1", "", 403),
        ("10.0.0.0/8", "127.0.0.1", "192.0.2.1", 403),
        ("10.0.0.0/8", "192.0.2.1", "10.1.2.3", 403),
    ],
)
def test_only_the_named_networks_may_read_the_metrics(networks: str, address: str, forwarded: str, status: int):
    client = create_app(state(metrics_networks=networks)).test_client()
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=headers)
    assert answer.status_code == status
    assert status == 200 or "metrics_networks" in answer.get_json()["error"]["message"]
    if address == "127.0.0.1":
        answer = client.get("/metrics", environ_base={"REMOTE_ADDR": address}, headers={"X-Real-IP": "192.0.2.1"})
        assert answer.status_code == 403


@pytest.mark.parametrize(("header", "status"), [("Accept", 404), ("X-Real-IP", 401), ("Via", 401), ("Forwarded", 401)])
def test_a_proxys_clients_are_no_operators_whatever_header_the_proxy_adds(header: str, status: int):
    client = create_app(state()).test_client()  # counts no usage: 404 for an operator
    assert client.get("/usage", headers={header: "192.0.2.1"}).status_code == status
