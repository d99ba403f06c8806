"""When an engine counts as ready, and with which models."""

import pytest

from svc.babysitter.engine_check import NO_MODELS, EngineCheck
from svc.babysitter.engine_status import NO_ANSWER, Readiness
from svc.client.probe import ModelList
from svc.config.instance.model import CommandBackend
from tests.unit.instance_configs import instance_config

A = {"id": "a"}
URL = "http://127.0.0.1:8100"


def checked(status=200, models=(A,), list_status=200, key_file="", **config):
    """The result of one check, and the URLs that were asked."""
    asked = []

    def get(url, timeout):
        asked.append(url)
        return status

    def list_models(url, timeout):
        asked.append(f"{url} lists")
        return ModelList(list(models), list_status)

    made = instance_config(backend=CommandBackend(command=("x",), api_key_file=key_file), **config)
    return EngineCheck(made, get, list_models)(URL, 5), [url.removeprefix(URL) for url in asked]


def test_an_engine_is_ready_when_its_health_is_good_and_it_lists_models():
    assert checked() == (Readiness([A]), ["/health", " lists"])


@pytest.mark.parametrize("status", [503, 500, 502])
def test_an_engine_that_lists_models_but_calls_itself_unhealthy_is_not_ready(status):
    assert checked(status) == (Readiness(reason=f"GET /health answers {status}"), ["/health"])


def test_an_engine_that_does_not_answer_is_asked_for_nothing_more():
    assert checked(0) == (Readiness(reason=NO_ANSWER), ["/health"])


@pytest.mark.parametrize("status", [404, 405, 501, 401])
def test_a_server_without_a_health_endpoint_is_ready_by_its_models_alone(status):
    assert checked(status)[0] == Readiness([A])
    assert checked(status, models=())[0] == Readiness(reason=NO_MODELS)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (204, True), (404, False), (405, False), (501, False)])
def test_a_configured_health_path_must_answer_2xx(status, ready):
    found, asked = checked(status, health_path="/ping?deep=1")
    assert asked[0] == "/ping?deep=1"
    assert bool(found.models) is ready
    assert found.reason == ("" if ready else f"GET /ping?deep=1 answers {status}")


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
def test_an_engine_that_wants_a_key_is_told_apart_from_one_that_loads(status, key_file, reason):
    found = checked(models=(), list_status=status, key_file=key_file)[0]
    assert found.misconfigured
    assert found.reason.startswith(reason.format(status))


def test_an_engine_whose_model_list_does_not_answer_may_answer_later():
    assert checked(models=(), list_status=0)[0] == Readiness(reason=NO_ANSWER)


def test_an_empty_health_path_leaves_it_to_the_models():
    assert checked(503, health_path="") == (Readiness([A]), [" lists"])


@pytest.mark.parametrize("status", [200, 404, 501])
def test_models_of_the_toml_are_those_of_a_server_that_answers(status):
    found, asked = checked(status, models=(), metadata={"models": ["whisper-1", "x"]})
    assert [model["id"] for model in found.models] == ["whisper-1", "x"]
    assert found.models[0] == {"id": "whisper-1", "object": "model", "created": 0, "owned_by": "qwen"}
    assert asked == ["/health"]


def test_models_of_the_toml_win_over_those_that_the_server_lists():
    assert [model["id"] for model in checked(metadata={"models": ["alias"]})[0].models] == ["alias"]


@pytest.mark.parametrize("status", [0, 503])
def test_models_of_the_toml_do_not_make_a_server_ready(status):
    assert not checked(status, metadata={"models": ["whisper-1"]})[0].models


def test_without_health_and_list_any_answer_is_enough():
    configured = {"health_path": "", "metadata": {"models": ["whisper-1"]}}
    assert checked(404, **configured)[0].models
    assert checked(0, **configured) == (Readiness(reason=NO_ANSWER), ["/v1/models"])
