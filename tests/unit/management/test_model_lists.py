"""What is known of the model lists after a change, and how long the registry is waited for."""

import json

import pytest

from svc.base.errors import Unavailable
from svc.client.registry import ServiceList
from svc.management.engine_request import EngineResponse
from svc.management.model_lists import await_registry, refreshed_models

BABYSITTER = "http://h:8101"


def listing(*models: str) -> EngineResponse:
    return EngineResponse(200, json.dumps({"data": [{"id": model} for model in models]}).encode())


@pytest.mark.parametrize(
    ("outcome", "babysitter", "problem"),
    [
        (EngineResponse(404), BABYSITTER, "its babysitter is older"),
        (EngineResponse(405), BABYSITTER, "its babysitter is older"),
        (
            EngineResponse(reason="connection refused"),
            BABYSITTER,
            f"the babysitter at {BABYSITTER} could not refresh the model list: connection",
        ),
        (
            EngineResponse(503, b'{"error": {"message": "a is failed"}}'),
            BABYSITTER,
            "could not refresh the model list: a is failed",
        ),
        (EngineResponse(404), None, "its model list cannot be read: it answers 404"),
        (EngineResponse(200, b"[]"), None, "no list of models"),
        (EngineResponse(200, b'{"data": 1}'), BABYSITTER, "no list of models"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(outcome, babysitter, problem):
    result = refreshed_models(outcome, babysitter)
    assert result.models is None
    assert problem in result.problem


def test_a_list_is_its_models_in_their_order():
    assert refreshed_models(listing("b", "a"), BABYSITTER).models == ["b", "a"]


class Registry:
    """Lists one instance with the models of each look in turn; a model None: the registry is away."""

    def __init__(self, *looks: list[str] | None) -> None:
        self.looks, self.now = list(looks), 0.0

    def list_services(self, *_: object) -> ServiceList:
        models = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        self.now += 0.1
        if models is None:
            raise Unavailable("cannot reach the registry")
        entry = json.dumps({"name": "a-server", "metadata": {"models": models}}).encode()
        return ServiceList([entry], None, "http://r")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def await_models(self, *models: str) -> dict[str, str]:
        return await_registry(self, {"a-server": models}, lambda: self.now, self.sleep, timeout=60)


def test_the_wait_ends_with_the_look_that_lists_the_models():
    registry = Registry(["base"], None, ["base", "sql"])
    assert registry.await_models("base", "sql") == {}
    assert registry.now < 60


def test_models_that_the_registry_does_not_list_in_time_are_reported():
    assert "not yet in the registry" in Registry(["base"]).await_models("base", "sql")["a-server"]
    assert "does not answer" in Registry(None).await_models("base")["a-server"]
