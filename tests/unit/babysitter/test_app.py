"""The three answers of a babysitter."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from svc.babysitter.app import create_app
from svc.babysitter.hang_probe import Prober
from svc.babysitter.health_rules import NOTHING, Sign
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.limits import Limits
from svc.babysitter.registrar import Registrar, entries
from svc.babysitter.restarter import Remedy
from svc.base.errors import Forbidden, Unauthorized
from svc.client.registry import RegistryClient
from svc.config.instance.digest import digest
from tests.unit.babysitter.test_monitor import World, models
from tests.unit.instance_configs import instance_config


@pytest.fixture
def world():
    return World()


@pytest.fixture
def client(world):
    sitter = world.sitter
    registrar = Registrar(
        RegistryClient(sitter.config.registry_urls), lambda: entries(sitter.config, sitter.picture.state, [], "h"), 10
    )
    remedy = Remedy("qwen", None)
    prober = Prober(sitter, lambda _: (Sign.SILENT, "no token within 3 s"), lambda: NOTHING, remedy, lambda: 50.0)
    limits = Limits(sitter, lambda: NOTHING, remedy, lambda *_: 3 << 20, lambda: world.now)
    world.prober, world.limits, world.registrar = prober, limits, registrar
    return create_app(sitter, registrar, prober, limits, clock=lambda: 100.0).test_client()


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


def test_a_refresh_answers_with_the_list_as_it_is_now(world, client):
    world.models = [{"id": "a"}]
    world.turn()
    world.models = [{"id": "a"}, {"id": "lora"}]
    world.now += 0.5
    assert [m["id"] for m in client.post("/models/refresh").json["data"]] == ["a", "lora"]
    assert [m["id"] for m in world.sitter.picture.models] == ["a", "lora"]


def test_a_refresh_of_an_engine_that_is_not_ready_is_503(client):
    answer = client.post("/models/refresh")
    assert (answer.status_code, "not ready" in answer.json["error"]["message"]) == (503, True)
    assert client.get("/models/refresh").status_code == 405


@pytest.mark.parametrize("sighting", [Sighting("RUNNING", 7), Sighting("BACKOFF"), Sighting("STOPPED"), None])
def test_health_of_one_that_does_not_has_the_same_fields_and_503(world, client, sighting):
    world.sighting = sighting
    world.turn()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert (answer.json["status"], answer.json["infinilm_server_running"]) == ("unhealthy", False)
    assert answer.json.keys() == {
        "status",
        "service",
        "babysitter",
        "infinilm_server_running",
        "infinilm_server_port",
        "timestamp",
    }


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
    assert answer.json["error"]["message"] == "qwen is starting, and its engine is not ready: it does not answer"


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
        "not_ready": None,
        "misconfigured": False,
        "not_registered": None,
        "infinilm_server_port": 8100,
        "infinilm_server_url": "http://localhost:8100",
        "infinilm_server_pid": 7,
        "infinilm_server_since": "1970-01-01T00:00:40.000Z",
        "uptime": 100.0,
        "restart_count": 2,
        "max_restarts": 3,
        "restart_reason": None,
        "probe": "models",
        "probe_result": None,
        "probe_reason": None,
        "probe_failures": 0,
        "probe_time": None,
        "memory": None,
        "max_memory": None,
        "restarts_asked": {"hung": 0, "startup": 0, "memory": 0},
        "config": digest(world.sitter.config),
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


def test_what_was_looked_at_more_closely_is_told(world, client):
    world.sitter.config = instance_config(probe="generate", max_memory=2 << 20)
    world.limits.config = world.sitter.config
    world.models = models("a")
    world.sighting = Sighting("RUNNING", 7, restarts=1, reason="memory: 3 MiB used")
    world.turn()
    world.prober.round()
    world.limits.round()
    info = client.get("/info").json
    assert info["state"] == "hung"
    assert (info["probe"], info["probe_result"], info["probe_failures"]) == ("generate", "silent", 1)
    assert (info["probe_reason"], info["probe_time"]) == ("no token within 3 s", "1970-01-01T00:00:50.000Z")
    assert (info["memory"], info["max_memory"], info["restart_reason"]) == (3 << 20, 2 << 20, "memory: 3 MiB used")
    assert client.get("/health").status_code == 503
    told = client.get("/metrics").text
    for line in (
        'svc_babysitter_state{state="hung"} 1.0',
        'svc_babysitter_probes_total{result="silent"} 1.0',
        "svc_babysitter_probe_failures 1.0",
        "svc_babysitter_memory_bytes 3.145728e+06",
        "svc_babysitter_max_memory_bytes 2.097152e+06",
        'svc_babysitter_restarts_asked_total{reason="hung"} 0.0',
    ):
        assert line in told.splitlines(), told


def test_info_says_why_the_registry_refuses_it_and_names_the_setting(world, client):
    world.turn()
    world.registrar.refusal = Unauthorized("a write needs the token")
    info = client.get("/info").json
    assert info["misconfigured"] is True
    assert info["not_registered"].startswith("a write needs the token; token_file in ")
    world.registrar.refusal = Forbidden("the name is another's")
    info = client.get("/info").json
    assert (info["misconfigured"], info["not_registered"]) == (False, "the name is another's")
