"""Reports about GPUs at the registry's API: who may send them, and what is refused."""

import pytest

from svc.registry.app import create_app
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, registration

SECRET = {"X-Service-Secret": "s" * 40}
GPU = {"index": 0, "name": "H100", "memory_total": 85, "memory_used": 73, "utilization": 0.5}


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


@pytest.fixture
def client(store):
    client = create_app(store, lambda url: 200, clock=lambda: NOW).test_client()
    assert client.post("/services", json=registration("qwen"), headers=SECRET).status_code == 201
    return client


def send(client, name="qwen", headers=SECRET, **fields):
    body = {"hostname": "gpu7", "tool": "nvidia-smi", "gpus": [GPU], **fields}
    answer = client.post(f"/services/{name}/gpus", json=body, headers=headers)
    return answer.status_code, answer.get_json()


def test_a_report_is_listed_and_wakes_no_watcher(client):
    index = client.get("/services").headers["X-Registry-Index"]
    assert send(client)[0] == 200
    (host,) = client.get("/gpus").get_json()["hosts"]
    assert (host["service"], host["hostname"], host["age"], host["gpus"][0]["memory_used"]) == ("qwen", "gpu7", 0, 73)
    assert client.get("/services").headers["X-Registry-Index"] == index


def test_only_the_owner_of_a_registered_name_reports(client):
    assert send(client, name="nobody")[0] == 404
    assert send(client, headers={"X-Service-Secret": "t" * 40})[0] == 403
    assert client.get("/gpus").get_json()["hosts"] == []


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"gpus": [{"index": "0"}]}, "gpus[0].index"),
        ({"gpus": [{"index": 0}] * 129}, "gpus"),
        ({"hostname": ""}, "hostname"),
        ({"interval": 0}, "interval"),
        ({"gpus": [{"index": 0, "processes": [{"pid": 1, "command": "x" * 201}]}]}, "gpus[0].processes[0].command"),
        ({"note": "x" * 70_000}, "gpus"),
    ],
)
def test_a_report_beyond_the_limits_is_refused(client, wrong, param):
    code, problem = send(client, **wrong)
    assert (code, problem["error"]["param"]) == (400, param)
    assert client.get("/gpus").get_json()["hosts"] == []


def test_a_host_too_many_is_told_to_wait(client, store, monkeypatch):
    monkeypatch.setattr(store, "put_gpus", lambda *arguments: False)
    code, problem = send(client)
    assert (code, problem["error"]["message"]) == (429, "500 hosts report GPUs, as many as may")
