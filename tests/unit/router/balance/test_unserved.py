import pytest

from svc.router.balance.routing_table import build
from svc.router.balance.unserved import (
    MAX_REMEMBERED_MODELS,
    MODEL_MEMORY_SECONDS,
    DepartedModels,
    ModelDown,
    ModelNotFound,
    UnknownModel,
    client_error,
    hidden_error,
    unserved_error,
)
from svc.router.balance.wakes import Wakes
from tests.unit.router.examples import target

SERVED, DRAINED = target("a", "demo-small"), target("b", "demo-large", drained=True)


def table(*targets):
    return build(targets, lambda target: True)


def error(model, *targets, departed=None):
    return unserved_error(model, table(*targets), departed or DepartedModels(), 0.0, Wakes(lambda: 0.0))


def test_a_model_that_no_instance_lists_is_unknown():
    failure = error("gema", SERVED, DRAINED)
    assert isinstance(failure, UnknownModel)
    assert (failure.status, failure.code) == (503, "service_unavailable")
    assert failure.message == "No healthy services available for model 'gema'"
    assert failure.headers() == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        ("demo-large", [SERVED, DRAINED]),
        ("m", [target("a", "m", status="stopped")]),
        (None, []),
        ("m", []),  # the site is starting: nothing has registered yet
        ("m", [SERVED, target("b", status="starting")]),  # it lists its models once it is ready
        ("m", [SERVED, target("b", discovers_models=True)]),  # a static service that has not answered yet
    ],
)
def test_a_model_that_is_down_or_may_come_is_worth_a_retry(model, targets):
    failure = error(model, *targets)
    assert isinstance(failure, ModelDown)
    assert (failure.status, failure.headers()) == (503, {"Retry-After": "5"})


def test_the_error_says_why_an_instance_on_demand_is_not_woken_any_more():
    metadata = {"on_demand": True, "restart_reason": "Exited with\ncode 3"}
    failure = error("m", target("a", "m", status="failed", metadata=metadata), target("b", "m", status="failed"))
    assert failure.message == (
        "No healthy services available for model 'm': a has failed, and is not woken any more: Exited with code 3"
    )


@pytest.mark.parametrize(
    "other", [target("b"), target("b", status="starting", drained=True), target("b", status="failed")]
)
def test_an_instance_that_will_list_no_model_makes_no_model_possible(other):
    assert isinstance(error("m", SERVED, other), UnknownModel)


def test_a_model_whose_instances_have_left_is_down_for_a_while():
    departed = DepartedModels()
    departed.replace_table(frozenset("mn"), frozenset("n"), 0.0)
    assert isinstance(error("m", SERVED, departed=departed), ModelDown)
    assert isinstance(error("n", SERVED, departed=departed), UnknownModel)
    assert departed.contains("m", MODEL_MEMORY_SECONDS - 1)
    assert not departed.contains("m", MODEL_MEMORY_SECONDS)


def test_the_memory_of_departed_models_is_bounded():
    departed = DepartedModels()
    models = [f"m{n}" for n in range(MAX_REMEMBERED_MODELS + 5)]
    for number, model in enumerate(models):
        departed.replace_table(frozenset([model]), frozenset(), number / 1e6)
    assert not departed.contains(models[0], 1.0)
    assert departed.contains(models[-1], 1.0)
    departed.replace_table(frozenset(), frozenset(), MODEL_MEMORY_SECONDS + 1)
    assert not any(departed.contains(model, 1.0) for model in models)


@pytest.mark.parametrize(
    ("setting", "uri", "status"),
    [
        ("auto", b"/v1/chat/completions", 503),
        ("auto", b"/chat/completions", 503),
        ("auto", b"/v1/completions", 503),
        ("auto", b"/api/chat", 503),
        ("auto", b"/v1/messages?beta=true", 404),
        ("auto", b"/v1/messages/count_tokens", 404),
        ("auto", b"/messages", 404),
        ("auto", b"/v1/responses", 404),
        ("auto", b"/responses", 404),
        ("503", b"/v1/messages", 503),
        ("404", b"/v1/chat/completions", 404),
    ],
)
def test_setting_and_path_decide_the_status(setting, uri, status):
    failure = client_error(UnknownModel("gema"), setting, uri, table(SERVED), {})
    assert failure.status == status


def not_found(model, *targets, **aliases):
    failure = client_error(UnknownModel(model), "404", b"/", table(*targets), aliases)
    assert isinstance(failure, ModelNotFound)
    assert (failure.code, failure.param, failure.type) == ("model_not_found", "model", "invalid_request_error")
    return failure.message


def test_the_404_names_the_nearest_models_that_are_served():
    assert not_found("demo-smal", SERVED, DRAINED) == "The model 'demo-smal' does not exist; did you mean demo-small?"
    assert not_found("gpt4", SERVED, **{"gpt-4": "demo-small", "gpt-4b": "demo-large"}).endswith("did you mean gpt-4?")
    assert not_found("claude", SERVED, DRAINED) == "The model 'claude' does not exist; there are demo-small"
    assert not_found("claude", DRAINED).endswith("there are none")


def test_a_client_learns_no_name_of_a_model_that_it_may_not_use():
    failure = client_error(UnknownModel("demo-smal"), "404", b"/", table(SERVED), {"x": "demo-small"}, "x".__eq__)
    assert failure.message == "The model 'demo-smal' does not exist; there are x"


def test_a_hidden_model_gets_the_error_of_an_unknown_one():
    starting = target("c", status="starting")
    for targets in ((SERVED,), (SERVED, starting)):
        hidden, unknown = hidden_error("demo-small", table(*targets)), error("demo-smalL", *targets)
        assert (type(hidden), hidden.headers()) == (type(unknown), unknown.headers())
        assert hidden.message.lower() == unknown.message.lower()
