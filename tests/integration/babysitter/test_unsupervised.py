"""`svc babysitter` for an instance that no supervisord runs."""

import signal
import socket
import time

import pytest
import requests

from svc.babysitter.instance_watch import PORT_REFUSED
from tests.integration.babysitter.processes import BabysitterClient
from tests.integration.fakes import mock
from tests.waiting import free_port, wait_until


def test_the_registry_follows_the_life_of_an_instance(babysitter, registry, port):
    client = BabysitterClient(port)
    process = babysitter(registry.url)
    registry.await_status("q", "running")
    registry.await_status("q-server", "starting")
    assert client.health() == 503
    assert client.get("/models").status_code == 503

    with mock("q", ["a", "b"], port) as instance:
        registry.await_status("q-server", "running")
        service = registry.client.get("q-server")
        assert service["url"] == f"http://localhost:{port}"
        assert service["hostname"] == socket.gethostname()
        assert service["lease_seconds"] == 30
        assert service["metadata"]["type"] == "openai-api"
        assert service["metadata"]["parent_service"] == "q"
        assert service["metadata"]["babysitter"] == f"http://localhost:{port + 1}"
        assert service["metadata"]["models"] == ["a", "b"]
        assert client.health() == 200
        its_own = requests.get(f"{instance.url}/v1/models", timeout=10).json()
        assert client.get("/models").json() == its_own
        assert service["metadata"]["models_list"] == its_own["data"]

        registry.client.deregister("q-server")
        registry.await_status("q-server", "running")

        registry.restart_empty()
        registry.await_status("q", "running")
        registry.await_status("q-server", "running")
        assert process.output().count("not registered, trying again") <= 1
        wait_until(
            lambda: registry.client.get("q-server")["metadata"].get("continues"), description="the proof is registered"
        )
        assert instance.stats()["requests"] == 0, "probes are no requests of clients"

        instance.kill(signal.SIGKILL)
        registry.await_status("q-server", "starting")
        assert [event["message"] for event in registry.client.events(only={"kind": "exited"})[0]] == [PORT_REFUSED]
        assert client.health() == 503
        assert registry.client.get("q-server")["metadata"]["models"] == ["a", "b"]

        instance.models, instance.flags["final_message"] = ["c"], "refuse"
        instance.start()
        wait_until(
            lambda: registry.client.get("q-server")["metadata"]["models"] == ["c"],
            description="its new models are registered",
        )
        registry.await_status("q-server", "running")
        info = client.get("/info").json()
        assert (info["state"], info["restart_count"], info["registered"]) == ("running", 1, True)
        info = wait_until(
            lambda: (info := client.get("/info").json())["continues"] is False and info, description="the new verdict"
        )
        assert info["not_continuing"] == "it answers 400"
        assert "continues" not in registry.client.get("q-server")["metadata"]

        assert process.end(signal.SIGTERM) == 0
        assert registry.status("q-server") is None
        assert registry.status("q") is None
        assert client.health() == 0
        assert instance.stats()  # the babysitter did not start the instance, so it goes on running


def test_every_target_of_the_service_discovery_has_metrics(babysitter, registry, port):
    with mock("q", ["a"], port):
        process = babysitter(registry.url)
        registry.await_status("q-server", "running")
        groups = {g["labels"]["name"]: g for g in requests.get(f"{registry.url}/sd/prometheus", timeout=5).json()}
        assert groups.keys() == {"registry", "q", "q-server"}
        for name, metric in (("registry", "svc_registry_services"), ("q", "svc_babysitter_state")):
            (target,), labels = groups[name]["targets"], groups[name]["labels"]
            answer = requests.get(f"{labels['__scheme__']}://{target}{labels['__metrics_path__']}", timeout=5)
            assert metric in answer.text
        assert 'svc_babysitter_state{state="running"} 1.0' in BabysitterClient(port).get("/metrics").text
        assert groups["q-server"]["targets"] == [f"localhost:{port}"]
        process.end()


def test_a_restarted_babysitter_reports_a_running_instance_as_running(babysitter, registry, port):
    with mock("q", ["a"], port):
        first = babysitter(registry.url)
        registry.await_status("q-server", "running")
        first.end(signal.SIGKILL)
        earlier = first.output().count("registered q-server")  # 0 if it was killed before it could log it
        second = babysitter(registry.url)
        wait_until(lambda: second.output().count("registered q-server") > earlier, description="it registered again")
        assert "q-server (starting)" not in second.output()
        assert second.end(signal.SIGINT) == 0
        assert registry.status("q-server") is None


def test_an_engine_that_hangs_stays_running_but_its_health_is_503(babysitter, registry, port):
    client = BabysitterClient(port)
    with mock("q", ["a"], port) as instance:
        process = babysitter(registry.url)
        registry.await_status("q-server", "running")
        instance.behave(hang=True, everywhere=True)
        wait_until(lambda: client.health() == 503, 15, "its health reports the hang")
        assert registry.status("q-server") == "running"
        instance.behave(hang=False, everywhere=False)
        wait_until(lambda: client.health() == 200, 15, "its health reports the end of the hang")
        process.end()


def test_a_babysitter_serves_without_a_registry(babysitter, port):
    client = BabysitterClient(port)
    with mock("q", ["a"], port):
        process = babysitter(f"http://127.0.0.1:{free_port()}")
        wait_until(lambda: client.health() == 200, description="it serves")
        wait_until(lambda: "cannot reach the registry" in process.output(), description="the log says so")
        info = client.get("/info").json()
        assert (info["state"], info["registered"], info["last_heartbeat"]) == ("running", False, None)
        assert process.end() == 0
        assert process.output().count("trying again") == 1
        assert "Traceback" not in process.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_babysitter_ends_in_time_while_the_registry_hangs(babysitter, port, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        process = babysitter(f"http://127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: BabysitterClient(port).health() == 503, description="it serves")
        silent.settimeout(10)
        connection, _ = silent.accept()  # the babysitter has sent its registration
        began = time.monotonic()
        assert process.end(number) == 0
        assert time.monotonic() - began < 5
        connection.close()


def test_a_taken_port_is_one_line_of_log_and_exit_status_1(babysitter, registry, port):
    with socket.create_server(("127.0.0.1", port + 1)):
        process = babysitter(registry.url)
        assert process.process.wait(15) == 1
    (line,) = process.output().splitlines()
    assert f"q.toml: port: the babysitter cannot listen on the instance's port + 1, 127.0.0.1:{port + 1}" in line
    assert registry.status("q") is None
