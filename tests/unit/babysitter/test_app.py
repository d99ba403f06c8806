"""The babysitter's HTTP endpoints."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.base.errors import Forbidden, Unauthorized
from tests.unit.babysitter.fake_instance import models
from tests.unit.instance_configs import instance_config


def test_health_of_an_instance_whose_engine_is_ready(instance, client):
    instance.models = models("a")
    instance.advance()
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


def test_a_refresh_returns_the_current_model_list(instance, client):
    instance.models = [{"id": "a"}]
    instance.advance()
    instance.models = [{"id": "a"}, {"id": "lora"}]
    instance.now += 0.5
    assert [m["id"] for m in client.post("/models/refresh").json["data"]] == ["a", "lora"]
    assert [m["id"] for m in instance.monitor.snapshot.models] == ["a", "lora"]


def test_a_refresh_of_an_engine_that_is_not_ready_is_503(client):
    answer = client.post("/models/refresh")
    assert (answer.status_code, "not ready" in answer.json["error"]["message"]) == (503, True)
    assert client.get("/models/refresh").status_code == 405


@pytest.mark.parametrize(
    "process", [ProcessSnapshot("RUNNING", 7), ProcessSnapshot("BACKOFF"), ProcessSnapshot("STOPPED"), None]
)
def test_health_is_503_with_the_same_fields_while_it_is_not_ready(instance, client, process):
    instance.process = process
    instance.advance()
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


def test_many_health_requests_cost_at_most_one_check(instance, client):
    instance.models = models("a")
    instance.advance()
    instance.checks = 0
    for _ in range(30):
        client.get("/health")
    assert instance.checks <= 1


@pytest.mark.parametrize("path", ["/models", "/v1/models"])
def test_models_returns_the_engine_s_own_list(instance, client, path):
    instance.models = [{"id": "a", "object": "model", "max_model_len": 4096}]
    instance.advance()
    assert client.get(path).json == {"object": "list", "data": instance.models}


def test_models_is_503_with_the_reason_while_the_engine_is_not_ready(instance, client):
    instance.advance()
    answer = client.get("/models")
    assert answer.status_code == 503
    assert answer.json["error"]["message"] == "qwen is starting, and its engine is not ready: it does not answer"


def test_info_of_a_running_instance(instance, client):
    instance.models = [{"id": "a"}]
    instance.process = ProcessSnapshot("RUNNING", 7, since=40.0, restarts=2)
    instance.advance()
    info = client.get("/info").json
    assert info == {
        "name": "qwen",
        "host": "localhost",
        "port": 8101,
        "url": "http://localhost:8101",
        "service_type": "mock",
        "metadata": {
            "type": "mock",
            "config_file": "config/qwen.toml",
            "babysitter": "svc",
            "started_at": "1970-01-01T00:00:00.000Z",
            "cache_type": "paged",
        },
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
        "continues": None,
        "not_continuing": None,
        "memory": None,
        "max_memory": None,
        "restarts_asked": {"hung": 0, "startup": 0, "memory": 0},
        "on_demand": None,
        "config": instance.monitor.config.digest(),
        "registry_url": "http://localhost:18000",
        "registry_urls": ["http://localhost:18000"],
        "router_url": "http://localhost:8000",
        "registered": False,
        "last_heartbeat": None,
        "timestamp": "1970-01-01T00:01:40.000Z",
    }


def test_info_before_the_first_poll(client):
    info = client.get("/info").json
    assert (info["state"], info["models"], info["infinilm_server_pid"]) == ("unknown", [], None)


def test_metrics_follow_the_state_of_the_instance(instance, client):
    def samples():
        families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
        return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}

    before = samples()
    assert before["svc_babysitter_state", "running"] == 0
    assert ("svc_babysitter_probe_seconds",) not in before
    instance.models = [{"id": "a"}]
    instance.process = ProcessSnapshot("RUNNING", 7, restarts=2)
    instance.advance()
    after = samples()
    assert after["svc_babysitter_state", "running"] == 1
    assert sum(value for (name, *_), value in after.items() if name == "svc_babysitter_state") == 1
    assert after["svc_babysitter_restarts_total",] == 2
    assert after["svc_babysitter_max_restarts",] == 3
    assert after["svc_babysitter_registered",] == 0
    assert after["svc_babysitter_probe_seconds",] >= 0


def test_an_unknown_path_is_404_with_a_json_error(client):
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "not_found"


def test_info_and_metrics_report_the_probe_and_the_memory(instance, client):
    instance.monitor.config = instance_config(probe="generate", max_memory=2 << 20)
    instance.limits.config = instance.monitor.config
    instance.models = models("a")
    instance.process = ProcessSnapshot("RUNNING", 7, restarts=1, reason="memory: 3 MiB used")
    instance.advance()
    instance.hang_probe.run_round()
    instance.limits.run_round()
    info = client.get("/info").json
    assert info["state"] == "hung"
    assert (info["probe"], info["probe_result"], info["probe_failures"]) == ("generate", "silent", 1)
    assert (info["probe_reason"], info["probe_time"]) == ("no token within 3 s", "1970-01-01T00:00:50.000Z")
    assert (info["memory"], info["max_memory"], info["restart_reason"]) == (3 << 20, 2 << 20, "memory: 3 MiB used")
    assert client.get("/health").status_code == 503
    metrics = client.get("/metrics").text
    for line in (
        'svc_babysitter_state{state="hung"} 1.0',
        'svc_babysitter_probes_total{result="silent"} 1.0',
        "svc_babysitter_probe_failures 1.0",
        "svc_babysitter_memory_bytes 3.145728e+06",
        "svc_babysitter_max_memory_bytes 2.097152e+06",
        'svc_babysitter_restarts_asked_total{reason="hung"} 0.0',
    ):
        assert line in metrics.splitlines(), metrics


def test_info_says_why_the_registry_refuses_it_and_the_cure(instance, client):
    instance.advance()
    instance.registrar.refusal = Unauthorized("a write needs the token")
    info = client.get("/info").json
    assert info["misconfigured"] is True
    assert info["not_registered"].startswith("a write needs the token; token_file in ")
    instance.registrar.refusal = Forbidden("the name is another's")
    info = client.get("/info").json
    assert (info["misconfigured"], info["not_registered"]) == (False, "the name is another's")
