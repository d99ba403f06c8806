import threading

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from svc.client.probe import USER_AGENT
from svc.registry.access import identity
from svc.registry.access.guard import Guard, token_file
from svc.registry.app import create_app
from svc.registry.leases.sweep import LeaseSweep
from svc.registry.metrics import RegistryMetrics
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, registration


class Environment:
    """The app's surroundings: a clock, and URLs that do not answer."""

    def __init__(self):
        self.now = NOW
        self.down = set()

    def clock(self):
        return self.now

    def probe(self, url):
        return 0 if url in self.down else 200


@pytest.fixture
def environment():
    return Environment()


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


@pytest.fixture
def client(store, environment):
    return create_app(store, environment.probe, clock=environment.clock).test_client()


def error(response):
    return response.get_json()["error"]


@pytest.mark.parametrize(
    ("secret", "message"), [("babysitters-own", "it deregistered"), ("", "by an operator at 127.0.0.1")]
)
def test_the_event_of_a_removal_says_who_removed_it(client, secret, message):
    headers = {"X-Service-Secret": secret} if secret else {}
    client.post("/services", json=registration("qwen"), headers=headers)
    assert client.delete("/services/qwen", headers=headers).status_code == 200
    (event,) = client.get("/events?kind=left").get_json()["events"]
    assert event["message"] == message


def test_a_registration_answers_201_with_the_service(client):
    answer = client.post("/services", json=registration(metadata={"type": "openai-api"}))
    assert answer.status_code == 201
    assert set(answer.get_json()["service"]) == {
        "name",
        "host",
        "port",
        "hostname",
        "url",
        "status",
        "timestamp",
        "last_heartbeat",
        "lease_seconds",
        "health_status",
        "is_healthy",
        "drained",
        "weight",
        "metadata",
    }
    assert client.get("/services/qwen").get_json() == answer.get_json()["service"]


def test_a_second_registration_replaces_the_first(client):
    client.post("/services", json=registration(metadata={"models": ["a"]}))
    client.post("/services", json=registration(port=9000, status="starting"))
    now = client.get("/services/qwen").get_json()
    assert (now["port"], now["status"], now["metadata"]) == (9000, "starting", {})
    assert client.get("/services").get_json()["total"] == 1


def test_the_list_is_sorted_filtered_and_carries_the_revision(client, environment):
    client.post("/services", json=registration("b", status="failed"))
    client.post("/services", json=registration("a", metadata={"type": "openai-api"}))

    def names(query=""):
        answer = client.get(f"/services{query}")
        assert answer.get_json()["total"] == len(answer.get_json()["services"])
        return [s["name"] for s in answer.get_json()["services"]]

    assert names() == ["a", "b"]
    assert names("?status=failed") == ["b"]
    assert names("?healthy=true") == ["a"]
    assert names("?healthy=false") == ["b"]
    assert names("?type=openai-api") == ["a"]
    assert client.get("/services").headers["X-Registry-Index"] == "2"
    assert names("?status=up") == []
    assert names("?healthy=True") == ["a"]
    assert error(client.get("/services?healthy=1"))["param"] == "healthy"


def test_a_watcher_gets_the_whole_list_when_something_changes(client, store, environment):
    client.post("/services", json=registration("a"))
    answers = []
    watcher = threading.Thread(target=lambda: answers.append(client.get("/services?index=1&wait=30")))
    watcher.start()
    client.post("/services/a/heartbeat", json={"status": "running"})
    assert not answers, "nothing has changed"
    client.post("/services", json=registration("b"))
    watcher.join(10)
    assert [s["name"] for s in answers[0].get_json()["services"]] == ["a", "b"]
    assert answers[0].headers["X-Registry-Index"] == "2"


def test_a_watcher_with_another_revision_is_answered_at_once(client):
    client.post("/services", json=registration("a"))
    for index in (0, 99, -1):
        answer = client.get(f"/services?index={index}&wait=60")
        assert (answer.headers["X-Registry-Index"], answer.get_json()["total"]) == ("1", 1)
    client.post("/services", json=registration("b", status="failed"))
    for _ in range(2):
        assert client.get("/services?index=1&wait=60&status=failed").get_json()["total"] == 1
        assert client.get("/services?index=1&wait=60&healthy=true").get_json()["total"] == 1
    assert client.get("/services?index=2&wait=0.01").get_json()["total"] == 2, "after the wait, the current list"
    assert client.get("/services?index=2").get_json()["total"] == 2


@pytest.mark.parametrize("query", ["index=x", "index=1&wait=-1", "wait=5", "index=1&wait=nan", "index=1&wait=x"])
def test_an_invalid_watch_is_rejected(client, query):
    answer = client.get(f"/services?{query}")
    assert (answer.status_code, error(answer)["param"]) == (400, "wait" if "index=1" in query else "index")


def test_a_list_has_the_latest_heartbeats_and_changes(client, environment):
    client.post("/services", json=registration())
    assert client.get("/services").get_json()["services"][0]["last_heartbeat"] == NOW
    assert client.get("/services?index=0").get_json()["services"][0]["status"] == "running"
    environment.now += 5
    client.post("/services/qwen/heartbeat")
    assert client.get("/services").get_json()["services"][0]["last_heartbeat"] == NOW + 5
    client.post("/services/qwen/heartbeat", json={"status": "draining"})
    assert client.get("/services?index=1").get_json()["services"][0]["status"] == "draining"


def test_watchers_share_one_encoding(client, store, monkeypatch):
    client.post("/services", json=registration("a"))
    reads, snapshot = [], store.snapshot
    monkeypatch.setattr(store, "snapshot", lambda: reads.append(1) or snapshot())
    for _ in range(5):
        assert client.get("/services?index=0").get_json()["total"] == 1
    assert len(reads) == 1


def test_an_expired_service_is_unhealthy_until_its_next_heartbeat(client, store):
    client.post("/services", json=registration(lease_seconds=30))
    assert client.get("/services/qwen").get_json()["is_healthy"]
    store.change("qwen", lambda s: replace(s, expired=True))
    assert not client.get("/services/qwen").get_json()["is_healthy"]
    client.post("/services/qwen/heartbeat")
    assert client.get("/services/qwen").get_json()["is_healthy"]


def test_a_heartbeat_may_bring_a_status(client, environment):
    client.post("/services", json=registration())
    environment.now += 5
    answer = client.post("/services/qwen/heartbeat", json={"status": "draining"})
    assert (answer.status_code, set(answer.get_json())) == (200, {"message", "timestamp"})
    now = client.get("/services/qwen").get_json()
    assert (now["status"], now["last_heartbeat"]) == ("draining", NOW + 5)
    assert error(client.post("/services/qwen/heartbeat", json={"status": 7}))["param"] == "status"


def test_a_status_of_another_program_counts_as_not_running(client):
    client.post("/services", json=registration())
    assert client.post("/services/qwen/heartbeat", json={"status": "warming up"}).status_code == 200
    now = client.get("/services/qwen").get_json()
    assert (now["status"], now["is_healthy"]) == ("warming up", False)
    assert client.get("/stats").get_json()["status_distribution"] == {"warming up": 1}
    assert sample(client, "svc_registry_services", status="other") == 1
    event = client.get("/events").get_json()["events"][-1]
    assert (event["kind"], event["level"], event["message"]) == ("status", "warning", "warming up; it was running")
    client.post("/services/qwen/heartbeat", json={"status": "running"})
    assert client.get("/services?healthy=true").get_json()["total"] == 1


def test_put_changes_only_the_given_fields_and_renews_the_lease(client, environment, store):
    client.post("/services", json=registration(metadata={"models": ["a"]}))
    environment.now += 5
    assert client.put("/services/qwen", json={"weight": 5, "status": "draining"}).status_code == 200
    now = client.get("/services/qwen").get_json()
    assert (now["weight"], now["status"], now["metadata"]) == (5, "draining", {"models": ["a"]})
    assert now["last_heartbeat"] == NOW + 5
    assert error(client.put("/services/qwen", json={"port": "x"}))["param"] == "port"
    environment.now += 5
    store.change("qwen", lambda old: replace(old, expired=True, status="running"))
    for nothing in ({"json": {}}, {}):
        answer = client.put("/services/qwen", **nothing)
        assert (answer.status_code, answer.get_json()["service"]["is_healthy"]) == (200, True)
    assert client.get("/services/qwen").get_json()["last_heartbeat"] == NOW + 10


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/health"),
        ("POST", "/heartbeat"),
        ("POST", "/drain"),
        ("POST", "/undrain"),
    ],
)
def test_an_unknown_name_is_404_with_the_way_to_register(client, method, path):
    answer = client.open(f"/services/nobody{path}", method=method)
    assert (answer.status_code, error(answer)["code"]) == (404, "unknown_service")
    assert "POST /services" in error(answer)["message"]


def test_delete_removes_the_service(client):
    client.post("/services", json=registration())
    assert client.delete("/services/qwen").status_code == 200
    assert client.get("/services/qwen").status_code == 404
    assert client.put("/services/qwen", json={"weight": 1}).status_code == 404


def test_only_an_operator_sets_and_clears_drained(client):
    client.post("/services", json=registration())
    assert client.post("/services/qwen/drain").get_json()["service"]["drained"]
    client.post("/services/qwen/heartbeat", json={"status": "running"})
    client.put("/services/qwen", json={"status": "running", "drained": False})
    client.delete("/services/qwen")
    again = client.post("/services", json=registration(drained=False)).get_json()["service"]
    assert (again["drained"], again["is_healthy"]) == (True, False)
    again = client.post("/services/qwen/undrain").get_json()["service"]
    assert (again["drained"], again["is_healthy"]) == (False, True)


def test_a_drain_may_ask_for_a_handover(client):
    client.post("/services", json=registration())
    drained = client.post("/services/qwen/drain", json={"handover": True}).get_json()["service"]
    assert (drained["drained"], drained["handover"]) == (True, True)
    (listed,) = client.get("/services").get_json()["services"]
    assert listed["handover"]
    client.put("/services/qwen", json={"weight": 2, "handover": False})
    assert client.get("/services/qwen").get_json()["handover"], "only an operator's drain changes it"
    for body in ({}, {"handover": False}, {"handover": None}, {"colour": "blue"}):
        client.post("/services/qwen/drain", json={"handover": True})
        again = client.post("/services/qwen/drain", json=body).get_json()["service"]
        assert again["drained"]
        assert "handover" not in again
    client.post("/services/qwen/drain", json={"handover": True})
    assert "handover" not in client.post("/services/qwen/undrain").get_json()["service"]


@pytest.mark.parametrize("body", [{"handover": "yes"}, {"handover": 1}, ["handover"]])
def test_a_drain_with_an_invalid_handover_changes_nothing(client, body):
    client.post("/services", json=registration())
    assert client.post("/services/qwen/drain", json=body).status_code == 400
    assert not client.get("/services/qwen").get_json()["drained"]


def test_the_health_endpoint_checks_the_service_now(client, environment):
    client.post("/services", json=registration(metadata={"type": "openai-api"}))
    up = client.get("/services/qwen/health").get_json()
    assert (up["service"], up["health_status"], up["is_healthy"]) == ("qwen", "healthy", True)
    environment.down.add("http://10.0.0.7:8101/health")
    down = client.get("/services/qwen/health").get_json()
    assert (down["health_status"], down["is_healthy"], down["last_heartbeat"]) == ("unhealthy", False, NOW)


def test_another_registrys_health_check_gets_the_last_status(client, environment, store):
    client.post("/services", json=registration("qwen"))
    environment.down.add("http://10.0.0.7:8100/health")
    store.change("qwen", lambda old: replace(old, health_status="healthy"))
    health = client.get("/services/qwen/health", headers={"User-Agent": USER_AGENT}).get_json()
    assert (health["health_status"], health["is_healthy"]) == ("healthy", True)


def test_max_services_limits_the_registrations(store, environment):
    client = create_app(store, environment.probe, clock=environment.clock, max_services=2).test_client()
    assert [client.post("/services", json=registration(name)).status_code for name in "aab"] == [201] * 3
    refused = client.post("/services", json=registration("c"))
    assert (refused.status_code, int(refused.headers["Retry-After"])) == (429, 60)
    assert "max_services" in error(refused)["message"]
    client.delete("/services/b")
    assert client.post("/services", json=registration("c")).status_code == 201


def test_localhost_is_accepted_from_any_address_of_the_machine(client, monkeypatch):
    monkeypatch.setattr(identity, "is_own_address", lambda address: address == "192.0.2.1")
    refused = client.post("/services", json=registration(host="localhost"), environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert refused.status_code == 401, "a write still needs a token"
    monkeypatch.setattr(Guard, "admit", lambda *_: None)
    for peer, status in (("192.0.2.1", 201), ("192.0.2.2", 400)):
        answer = client.post("/services", json=registration(host="localhost"), environ_base={"REMOTE_ADDR": peer})
        assert answer.status_code == status
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    assert client.post("/services", json=registration(host="localhost"), headers=proxied).status_code == 400


def test_health_and_stats_count_services(client, environment):
    client.post("/services", json=registration("a"))
    client.post("/services", json=registration("b", status="failed", host="10.0.0.8"))
    environment.now += 3
    assert client.get("/health").get_json() == {
        "status": "healthy",
        "registry": "running",
        "registered_services": 2,
        "healthy_services": 1,
        "timestamp": "2023-11-14T22:13:23.000Z",
    }
    assert client.get("/stats").get_json() == {
        "total_services": 2,
        "healthy_services": 1,
        "unhealthy_services": 1,
        "uptime": 3.0,
        "status_distribution": {"running": 1, "failed": 1},
        "host_distribution": {"10.0.0.7": 1, "10.0.0.8": 1},
        "timestamp": "2023-11-14T22:13:23.000Z",
    }


def test_metrics_report_the_state_and_the_counters(client):
    client.post("/services", json=registration())
    client.post("/services/qwen/heartbeat")
    client.post("/services/qwen/drain")
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    samples = {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}
    assert samples["svc_registry_services", "running"] == 1
    assert samples["svc_registry_healthy_services",] == 0
    assert samples["svc_registry_drained_services",] == 1
    assert samples["svc_registry_registrations_total",] == 1
    assert samples["svc_registry_heartbeats_total",] == 1
    assert samples["svc_registry_revision_total",] == 2


def test_errors_have_the_documented_shape(client):
    for answer, status in (
        (client.post("/services", data=b"{"), 400),
        (client.post("/services", json={}), 400),
        (client.get("/nothing"), 404),
        (client.delete("/services"), 405),
        (client.post("/services", data=b"x" * (256 * 1024 + 1)), 413),
    ):
        assert (answer.status_code, set(error(answer))) == (status, {"message", "type", "param", "code"})


def test_a_store_that_fails_is_503(client, store):
    store.close()
    for path in ("/health", "/services", "/services?index=0&wait=9", "/stats"):
        answer = client.get(path)
        assert (answer.status_code, error(answer)["code"]) == (503, "service_unavailable")
    health = client.get("/health").get_json()
    assert (health["status"], health["registry"]) == ("failing", "running")
    assert "registry.db" in health["reason"]
    assert (sample(client, "svc_registry_failing"), sample(client, "svc_registry_degraded")) == (1, 0)


def test_a_read_only_store_still_lists_and_is_reported(client, store):
    client.post("/services", json=registration())
    store._db.execute("PRAGMA query_only = 1")
    assert client.get("/health").status_code == 200, "nothing has been written yet"
    assert client.post("/services/qwen/heartbeat").status_code == 503
    assert client.get("/services").get_json()["total"] == 1
    health = client.get("/health")
    assert (health.status_code, health.get_json()["registered_services"]) == (503, 1)
    assert "read-only" in health.get_json()["reason"]


def test_a_degraded_registry_reports_it_until_an_operator_ends_it(store, environment):
    sweep = LeaseSweep(store, environment.clock)
    metrics = RegistryMetrics(store, sweep.health)
    client = create_app(store, environment.probe, sweep=sweep, metrics=metrics, clock=environment.clock).test_client()
    for n in range(3):
        client.post("/services", json=registration(f"s{n}", lease_seconds=2))
    for _ in range(3):
        environment.now += 1
        sweep.run_round()
    health = client.get("/health")
    assert (health.status_code, health.get_json()["status"]) == (200, "degraded")
    assert "3 of 3" in health.get_json()["reason"]
    assert sample(client, "svc_registry_degraded") == 1
    assert client.get("/services?healthy=true").get_json()["total"] == 3
    assert client.post("/expire").get_json()["expired"] == ["s0", "s1", "s2"]
    assert client.get("/health").get_json()["status"] == "healthy"
    assert client.get("/services?healthy=true").get_json()["total"] == 0


def sample(client, name, **labels):
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    return next(s.value for f in families for s in f.samples if (s.name, s.labels) == (name, labels))


def test_other_machines_need_the_token_to_write(store, environment, tmp_path):
    (tmp_path / "token").write_text("secret")
    app = create_app(store, environment.probe, Guard(token_file(str(tmp_path / "token"))), clock=environment.clock)
    far = app.test_client()
    far.environ_base["REMOTE_ADDR"] = "10.0.0.9"
    writes = [("POST", "/services"), ("PUT", "/services/a"), ("DELETE", "/services/a")]
    writes += [("POST", "/expire")]
    writes += [("POST", f"/services/a/{verb}") for verb in ("heartbeat", "drain", "undrain")]
    for method, path in writes:
        answer = far.open(path, method=method, json=registration("a"))
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="registry"')
    assert far.post("/services", json=registration("a"), headers={"Authorization": "Bearer secret"}).status_code == 201
    assert far.get("/services").status_code == 200


def test_registrations_and_updates_check_the_address(client):
    refused = client.post("/services", json=registration(url="http://10.0.0.8:8100", host="10.0.0.7"))
    assert error(refused)["param"] == "url"
    client.post("/services", json=registration())
    assert error(client.put("/services/qwen", json={"port": 9000}))["param"] == "url"
    assert (
        error(client.put("/services/qwen", json={"metadata": {"health_url": "http://10.0.0.9"}}))["param"] == "metadata"
    )
    assert client.put("/services/qwen", json={"port": 9000, "url": "http://10.0.0.7:9000"}).status_code == 200
    assert client.put("/services/nobody", json={"port": 9000}).status_code == 404


def test_prometheus_gets_its_targets(client):
    client.post("/services", json=registration("q-server", metadata={"type": "openai-api"}))
    answer = client.get("/sd/prometheus", headers={"Host": "gpu1:18000"})
    assert answer.content_type == "application/json"
    assert [g["targets"] for g in answer.get_json()] == [["gpu1:18000"], ["10.0.0.7:8100"]]


@pytest.mark.parametrize("host", ["gpu1:0", "a b", "gpu1:99999", ""])
def test_service_discovery_rejects_an_invalid_host(client, host):
    answer = client.get("/sd/prometheus", environ_overrides={"HTTP_HOST": host})
    assert (answer.status_code, error(answer)["param"]) == (400, "Host")
    assert error(answer)["message"] == f"Host '{host}' is not a valid address; use http://REGISTRY_HOST:PORT"


@pytest.mark.parametrize(("address", "shows_path"), [("127.0.0.1", True), ("192.0.2.1", False)])
def test_health_shows_paths_only_to_its_own_machine(tmp_path, environment, address, shows_path):
    path = tmp_path / "registry.db"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    client = create_app(SqliteStore(path), environment.probe, clock=environment.clock).test_client()
    answer = client.get("/health", environ_base={"REMOTE_ADDR": address}).get_json()
    assert answer["status"] == "degraded"
    assert ("registry.db" in answer["reason"]) is shows_path
    assert "read the registry's log, or GET /health with its token" in answer["reason"] or shows_path
