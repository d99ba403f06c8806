"""An instance gets requests once its engine is healthy and has models."""

from tests.integration.babysitter.engine import engine
from tests.integration.babysitter.processes import BabysitterClient
from tests.waiting import wait_until


def test_an_engine_that_lists_models_before_it_is_warm_is_starting(babysitter, registry, port):
    client = BabysitterClient(port)
    with engine(port, health=503) as cold:
        process = babysitter(registry.url)
        wait_until(lambda: "GET /health answers 503" in process.output(), description="the log says what is missing")
        registry.await_status("q-server", "starting")
        assert client.health() == 503
        assert client.get("/info").json()["not_ready"] == "GET /health answers 503"
        cold.health = 200
        registry.await_status("q-server", "running")
        wait_until(lambda: client.health() == 200, description="its health follows")


def test_an_engine_that_turns_unhealthy_stays_running_but_is_503(babysitter, registry, port):
    client = BabysitterClient(port)
    with engine(port) as sick:
        babysitter(registry.url)
        registry.await_status("q-server", "running")
        sick.health = 503
        wait_until(lambda: client.health() == 503, description="the babysitter reports it")
        assert registry.status("q-server") == "running"
        sick.health = 200
        wait_until(lambda: client.health() == 200, description="it is healthy again")


def test_an_engine_without_a_health_endpoint_runs_by_its_models(babysitter, registry, port):
    with engine(port, health=None):
        babysitter(registry.url)
        registry.await_status("q-server", "running")
        assert BabysitterClient(port).health() == 200


def test_a_configured_health_path_that_is_404_is_logged(babysitter, registry, port):
    with engine(port):
        process = babysitter(registry.url, 'health_path = "/ping"\n')
        wait_until(
            lambda: "its engine is not ready: GET /ping answers 404" in process.output(), description="the log names it"
        )
        registry.await_status("q-server", "starting")


def test_an_engine_without_a_model_list_has_the_models_of_its_toml(babysitter, registry, port):
    with engine(port, health=None, models=None):
        babysitter(registry.url, metadata='models = ["whisper-1"]\n')
        registry.await_status("q-server", "running")
        assert registry.client.get("q-server")["metadata"]["models"] == ["whisper-1"]
        assert [model["id"] for model in BabysitterClient(port).get("/models").json()["data"]] == ["whisper-1"]
        assert BabysitterClient(port).health() == 200
