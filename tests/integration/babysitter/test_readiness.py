"""When an instance gets requests: its engine's own health and its models decide."""

from tests.integration.babysitter.conftest import Babysat
from tests.integration.babysitter.engine import engine
from tests.waiting import wait_until


def test_an_engine_that_lists_models_before_it_is_warm_gets_no_requests_yet(babysitter, registry, port):
    told = Babysat(port)
    with engine(port, health=503) as cold:
        process = babysitter(registry.url)
        wait_until(lambda: "GET /health answers 503" in process.said(), description="the log says what is missing")
        registry.await_status("q-server", "starting")
        assert told.health() == 503
        assert told.get("/info").json()["not_ready"] == "GET /health answers 503"
        cold.health = 200
        registry.await_status("q-server", "running")
        wait_until(lambda: told.health() == 200, description="its health follows")


def test_an_engine_that_turns_unhealthy_stays_running_and_fails_its_health_check(babysitter, registry, port):
    told = Babysat(port)
    with engine(port) as sick:
        babysitter(registry.url)
        registry.await_status("q-server", "running")
        sick.health = 503
        wait_until(lambda: told.health() == 503, description="the babysitter passes it on")
        assert registry.status("q-server") == "running"
        sick.health = 200
        wait_until(lambda: told.health() == 200, description="it is healthy again")


def test_a_server_without_a_health_endpoint_runs_by_its_models(babysitter, registry, port):
    with engine(port, health=None):
        babysitter(registry.url)
        registry.await_status("q-server", "running")
        assert Babysat(port).health() == 200


def test_a_configured_health_path_that_the_server_does_not_have_is_named(babysitter, registry, port):
    with engine(port):
        process = babysitter(registry.url, 'health_path = "/ping"\n')
        wait_until(
            lambda: "its engine is not ready: GET /ping answers 404" in process.said(), description="the log names it"
        )
        registry.await_status("q-server", "starting")


def test_a_server_without_a_model_list_runs_with_the_models_of_its_toml(babysitter, registry, port):
    with engine(port, health=None, models=None):
        babysitter(registry.url, metadata='models = ["whisper-1"]\n')
        registry.await_status("q-server", "running")
        assert registry.client.get("q-server")["metadata"]["models"] == ["whisper-1"]
        assert [model["id"] for model in Babysat(port).get("/models").json()["data"]] == ["whisper-1"]
        assert Babysat(port).health() == 200
