"""When an engine counts as ready, and with which models."""

import pytest

from svc.babysitter.engine_check import NO_MODELS, EngineCheck
from svc.babysitter.engine_status import NO_ANSWER, Readiness
from svc.client.probe import ModelList
from svc.config.instance.model import CommandBackend
from tests.unit.instance_configs import instance_config

A = {"id": "a"}
URL = "http://127.0.0.1:8100"


def check(status=200, models=(A,), list_status=200, key_file="", **config):
    """Return the result of one check, and the URLs that it requested."""
    requested = []

    def get(url, timeout):
        requested.append(url)
        return status

    def list_models(url, timeout):
        requested.append(f"{url} lists")
        return ModelList(list(models), list_status)

    engine_config = instance_config(backend=CommandBackend(command=("x",), api_key_file=key_file), **config)
    return EngineCheck(engine_config, get, list_models)(URL, 5), [url.removeprefix(URL) for url in requested]


def test_an_engine_is_ready_when_its_health_is_good_and_it_lists_models():
    assert check() == (Readiness([A]), ["/health", " lists"])


@pytest.mark.parametrize("status", [503, 500, 502])
def test_an_unhealthy_engine_that_lists_models_is_not_ready(status):
    assert check(status) == (Readiness(reason=f"GET /health answers {status}"), ["/health"])


def test_no_model_list_is_requested_of_an_engine_that_does_not_answer():
    assert check(0) == (Readiness(reason=NO_ANSWER), ["/health"])


@pytest.mark.parametrize("status", [404, 405, 501, 401])
def test_a_server_without_a_health_endpoint_is_ready_by_its_models_alone(status):
    assert check(status)[0] == Readiness([A])
    assert check(status, models=())[0] == Readiness(reason=NO_MODELS)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (204, True), (404, False), (405, False), (501, False)])
def test_a_configured_health_path_must_answer_2xx(status, ready):
    readiness, requested = check(status, health_path="/ping?deep=1")
    assert requested[0] == "/ping?deep=1"
    assert bool(readiness.models) is ready
    assert readiness.reason == ("" if ready else f"GET /ping?deep=1 answers {status}")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("key_file", "reason"),
    [
        ("", "it wants an API key ({}); write the key into a file and name that: [backend] api_key_file in config/"),
        (
            "var/q.key",
            "it refuses the key in var/q.key ({}); write the engine's key into var/q.key, or name another file",
        ),
    ],
)
def test_an_engine_that_wants_a_key_is_misconfigured(status, key_file, reason):
    readiness = check(models=(), list_status=status, key_file=key_file)[0]
    assert readiness.misconfigured
    assert readiness.reason.startswith(reason.format(status))


def test_a_model_list_without_an_answer_is_no_misconfiguration():
    assert check(models=(), list_status=0)[0] == Readiness(reason=NO_ANSWER)


def test_an_empty_health_path_means_that_only_the_models_decide():
    assert check(503, health_path="") == (Readiness([A]), [" lists"])


@pytest.mark.parametrize("status", [200, 404, 501])
def test_models_of_the_toml_are_those_of_an_engine_that_answers(status):
    readiness, requested = check(status, models=(), metadata={"models": ["whisper-1", "x"]})
    assert [model["id"] for model in readiness.models] == ["whisper-1", "x"]
    assert readiness.models[0] == {"id": "whisper-1", "object": "model", "created": 0, "owned_by": "qwen"}
    assert requested == ["/health"]


def test_models_of_the_toml_win_over_those_that_the_engine_lists():
    assert [model["id"] for model in check(metadata={"models": ["alias"]})[0].models] == ["alias"]


@pytest.mark.parametrize("status", [0, 503])
def test_models_of_the_toml_do_not_make_an_engine_ready(status):
    assert not check(status, metadata={"models": ["whisper-1"]})[0].models


def test_without_health_path_and_model_list_any_answer_is_enough():
    configured = {"health_path": "", "metadata": {"models": ["whisper-1"]}}
    assert check(404, **configured)[0].models
    assert check(0, **configured) == (Readiness(reason=NO_ANSWER), ["/v1/models"])
