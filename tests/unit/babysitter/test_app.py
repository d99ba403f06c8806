"""The three answers of a babysitter."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from svc.babysitter.app import create_app
from svc.babysitter.registrar import Registrar, entries
from svc.babysitter.watch import Sighting
from svc.client import RegistryClient
from svc.spec.digest import digest
from tests.unit.babysitter.test_sitter import World, models


@pytest.fixture
def world():
    return World()


@pytest.fixture
def client(world):
    sitter = world.sitter
    registrar = Registrar(
        RegistryClient(sitter.spec.registry_urls), lambda: entries(sitter.spec, sitter.picture.state, [], "h"), 10
    )
    return create_app(sitter, registrar, clock=lambda: 100.0).test_client()


def test_health_of_an_instance_that_runs_and_answers(world, client):
    world.models = models("a")
    world.turn()
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "healthy",
        "service": "qwen",
        "babysitter": "running",
        "infinilm_server_running": True,
        "infinilm_server_port": 8100,
        "timestamp": "1970-01-01T00:01:40.000Z",
    }


@pytest.mark.parametrize("sighting", [Sighting("RUNNING", 7), Sighting("BACKOFF"), Sighting("STOPPED"), None])
def test_health_of_one_that_does_not_has_the_same_fields_and_503(world, client, sighting):
    world.sighting = sighting
    world.turn()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert (answer.json["status"], answer.json["infinilm_server_running"]) == ("unhealthy", False)
    assert answer.json.keys() == {
        "status", "service", "babysitter", "infinilm_server_running", "infinilm_server_port", "timestamp",
    }  # fmt: skip


def test_many_who_ask_for_health_cost_the_instance_little(world, client):
    world.models = models("a")
    world.turn()
    world.asked = 0
    for _ in range(30):
        client.get("/health")
    assert world.asked <= 1


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
def test_models_are_the_instance_s_own_list(world, client, path):
    world.models = [{"id": "a", "object": "model", "max_model_len": 4096}]
    world.turn()
    assert client.get(path).json == {"object": "list", "data": world.models}


def test_models_of_one_that_does_not_answer(world, client):
    world.turn()
    answer = client.get("/models")
    assert answer.status_code == 503
    assert answer.json["error"]["message"] == "qwen lists no models: it is starting"


def test_info(world, client):
    world.models = [{"id": "a"}]
    world.sighting = Sighting("RUNNING", 7, since=40.0, restarts=2)
    world.turn()
    info = client.get("/info").json
    assert info == {
        "name": "qwen",
        "host": "localhost",
        "port": 8101,
        "url": "http://localhost:8101",
        "service_type": "mock",
        "state": "running",
        "models": ["a"],
        "infinilm_server_port": 8100,
        "infinilm_server_url": "http://localhost:8100",
        "infinilm_server_pid": 7,
        "infinilm_server_since": "1970-01-01T00:00:40.000Z",
        "uptime": 100.0,
        "restart_count": 2,
        "max_restarts": 3,
        "config": digest(world.sitter.spec),
        "registry_url": "http://localhost:18000",
        "registry_urls": ["http://localhost:18000"],
        "router_url": "http://localhost:8000",
        "registered": False,
        "last_heartbeat": None,
        "timestamp": "1970-01-01T00:01:40.000Z",
    }


def test_info_before_anything_was_seen(client):
    info = client.get("/info").json
    assert (info["state"], info["models"], info["infinilm_server_pid"]) == ("unknown", [], None)


def test_metrics(world, client):
    def samples():
        families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
        return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}

    before = samples()
    assert before["svc_babysitter_state", "running"] == 0
    assert ("svc_babysitter_probe_seconds",) not in before
    world.models = [{"id": "a"}]
    world.sighting = Sighting("RUNNING", 7, restarts=2)
    world.turn()
    after = samples()
    assert after["svc_babysitter_state", "running"] == 1
    assert sum(value for (name, *_), value in after.items() if name == "svc_babysitter_state") == 1
    assert after["svc_babysitter_restarts_total",] == 2
    assert after["svc_babysitter_max_restarts",] == 3
    assert after["svc_babysitter_registered",] == 0
    assert after["svc_babysitter_probe_seconds",] >= 0


def test_a_path_that_is_not_there_is_told_in_the_contract_s_shape(client):
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "not_found"
