"""`svc babysitter` for an instance that something else runs."""

import signal
import socket
import time

import pytest
import requests

from svc.babysitter.instance_watch import PORT_REFUSED
from tests.integration.babysitter.conftest import Babysat
from tests.integration.fakes import mock
from tests.waiting import free_port, wait_until


def test_the_life_of_an_instance_as_the_registry_sees_it(babysitter, registry, port):
    told = Babysat(port)
    process = babysitter(registry.url)
    registry.await_status("q", "running")
    registry.await_status("q-server", "starting")
    assert told.health() == 503
    assert told.get("/models").status_code == 503

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
        assert told.health() == 200
        its_own = requests.get(f"{instance.url}/v1/models", timeout=10).json()
        assert told.get("/models").json() == its_own
        assert service["metadata"]["models_list"] == its_own["data"]

        registry.client.deregister("q-server")
        registry.await_status("q-server", "running")

        registry.lose_everything()
        registry.await_status("q", "running")
        registry.await_status("q-server", "running")
        assert process.said().count("not registered, trying again") <= 1

        instance.kill(signal.SIGKILL)
        registry.await_status("q-server", "starting")
        assert [event["message"] for event in registry.client.events(only={"kind": "exited"})[0]] == [PORT_REFUSED]
        assert told.health() == 503
        assert registry.client.get("q-server")["metadata"]["models"] == ["a", "b"]

        instance.models = ["c"]
        instance.start()
        wait_until(
            lambda: registry.client.get("q-server")["metadata"]["models"] == ["c"],
            description="its new models are told",
        )
        registry.await_status("q-server", "running")
        info = told.get("/info").json()
        assert (info["state"], info["restart_count"], info["registered"]) == ("running", 1, True)

        assert process.end(signal.SIGTERM) == 0
        assert registry.status("q-server") is None
        assert registry.status("q") is None
        assert told.health() == 0
        assert instance.stats()  # the instance is somebody else's, and lives on


def test_prometheus_finds_metrics_wherever_it_is_sent(babysitter, registry, port):
    with mock("q", ["a"], port):
        process = babysitter(registry.url)
        registry.await_status("q-server", "running")
        found = {g["labels"]["name"]: g for g in requests.get(f"{registry.url}/sd/prometheus", timeout=5).json()}
        assert found.keys() == {"registry", "q", "q-server"}
        for name, metric in (("registry", "svc_registry_services"), ("q", "svc_babysitter_state")):
            (target,), told = found[name]["targets"], found[name]["labels"]
            answer = requests.get(f"{told['__scheme__']}://{target}{told['__metrics_path__']}", timeout=5)
            assert metric in answer.text
        assert 'svc_babysitter_state{state="running"} 1.0' in Babysat(port).get("/metrics").text
        assert found["q-server"]["targets"] == [f"localhost:{port}"]
        process.end()


def test_a_babysitter_that_was_killed_and_is_back_does_not_call_a_running_instance_starting(babysitter, registry, port):
    with mock("q", ["a"], port):
        first = babysitter(registry.url)
        registry.await_status("q-server", "running")
        first.end(signal.SIGKILL)
        second = babysitter(registry.url)
        wait_until(lambda: second.said().count("registered q-server") >= 2, description="it registered again")
        assert "q-server (starting)" not in second.said()
        assert second.end(signal.SIGINT) == 0
        assert registry.status("q-server") is None


def test_an_instance_that_hangs_stays_running_for_the_registry_and_its_health_says_503(babysitter, registry, port):
    told = Babysat(port)
    with mock("q", ["a"], port) as instance:
        process = babysitter(registry.url)
        registry.await_status("q-server", "running")
        instance.behave(hang=True, everywhere=True)
        wait_until(lambda: told.health() == 503, 15, "health tells of the hang")
        assert registry.status("q-server") == "running"
        instance.behave(hang=False, everywhere=False)
        wait_until(lambda: told.health() == 200, 15, "health tells that it is over")
        process.end()


def test_no_registry_is_no_reason_to_stop_serving(babysitter, port):
    told = Babysat(port)
    with mock("q", ["a"], port):
        process = babysitter(f"http://127.0.0.1:{free_port()}")
        wait_until(lambda: told.health() == 200, description="it serves")
        wait_until(lambda: "cannot reach the registry" in process.said(), description="it says so")
        info = told.get("/info").json()
        assert (info["state"], info["registered"], info["last_heartbeat"]) == ("running", False, None)
        assert process.end() == 0
        assert process.said().count("trying again") == 1
        assert "Traceback" not in process.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_though_the_registry_hangs(babysitter, port, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        process = babysitter(f"http://127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: Babysat(port).health() == 503, description="it serves")
        silent.settimeout(10)
        connection, _ = silent.accept()  # it is talking to us
        began = time.monotonic()
        assert process.end(number) == 0
        assert time.monotonic() - began < 5
        connection.close()


def test_a_taken_port_is_one_clear_line_and_exit_1(babysitter, registry, port):
    with socket.create_server(("127.0.0.1", port + 1)):
        process = babysitter(registry.url)
        assert process.process.wait(15) == 1
    (line,) = process.said().splitlines()
    assert f"q.toml: port: the babysitter cannot listen on the instance's port + 1, 127.0.0.1:{port + 1}" in line
    assert registry.status("q") is None
