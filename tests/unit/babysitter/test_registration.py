"""The registrations of a babysitter and its instance, and how many models they hold."""

import pytest

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.registration import model_metadata, registrations
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODELS
from svc.registry import validation
from tests.unit.instance_configs import instance_config
from tests.unit.registry import services
from tests.unit.registry.services import NOW

MODEL = {"id": "a", "object": "model", "created": 1}


def test_the_registration_of_a_running_instance():
    babysitter, instance = registrations(instance_config(), LifecycleState.RUNNING, [MODEL], "gpu1")
    assert instance.to_json(0.0) == {
        "name": "qwen-server",
        "host": "localhost",
        "port": 8100,
        "hostname": "gpu1",
        "url": "http://localhost:8100",
        "status": "running",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "lease_seconds": 30,
        "weight": 1,
        "metadata": {
            "cache_type": "paged",
            "type": "openai-api",
            "parent_service": "qwen",
            "babysitter": "http://localhost:8101",
            "models": ["a"],
            "models_list": [MODEL],
            "restarts": 0,
            "restart_reason": "",
        },
    }
    registered = babysitter.to_json(0.0)
    assert (registered["name"], registered["port"], registered["url"]) == ("qwen", 8101, "http://localhost:8101")
    assert (registered["status"], registered["metadata"]["type"]) == ("running", "babysitter")


def test_only_a_proof_that_the_engine_continues_answers_is_registered():
    arguments = instance_config(), LifecycleState.RUNNING, [MODEL], "gpu1", None
    unproven = registrations(*arguments)
    assert registrations(*arguments, None) == registrations(*arguments, False) == unproven, "nobody is woken for it"
    _, instance = registrations(*arguments, True)
    metadata = {**unproven[1].fields["metadata"], "continues": True}
    assert instance.fields["metadata"] == metadata
    _, instance = registrations(*arguments, True, True)
    assert instance.fields["metadata"] == {**metadata, "continues_messages": True}


def test_the_reason_of_an_end_is_registered_before_the_restart():
    instance = registrations(
        instance_config(), LifecycleState.STARTING, [], "gpu1", ProcessSnapshot("BACKOFF", reason="Exited with code 3")
    )[1]
    metadata = instance.fields["metadata"]
    assert (metadata["restarts"], metadata["restart_reason"]) == (0, "Exited with code 3")


def test_the_registry_accepts_both_registrations():
    for registration in registrations(instance_config(), LifecycleState.STARTING, [], "gpu1"):
        assert validation.parse_registration(registration.to_json(5.0), now=6.0).name == registration.name


@pytest.mark.parametrize(("interval", "lease"), [(1, 30), (10, 30), (30, 90), (600, 1800)])
def test_a_lease_outlives_two_lost_heartbeats(interval, lease):
    for registration in registrations(instance_config(heartbeat_interval=interval), LifecycleState.RUNNING, [], "h"):
        assert registration.fields["lease_seconds"] == lease


@pytest.mark.parametrize(("given", "weight"), [(5, 5), ("5", 1), (True, 1), (2.5, 1), (None, 1)])
def test_a_whole_number_in_the_metadata_is_the_weight(given, weight):
    instance = registrations(instance_config(metadata={"weight": given}), LifecycleState.RUNNING, [], "h")[1]
    assert instance.fields["weight"] == weight


@pytest.mark.parametrize("state", [LifecycleState.UNSEEN, LifecycleState.GONE])
def test_an_instance_that_was_not_polled_is_not_registered(state):
    assert [r.name for r in registrations(instance_config(), state, [], "h")] == ["qwen"]


def model(name, permissions=0):
    return {"id": name, "object": "model", "max_model_len": 4096, "permission": [{"id": "p" * 100}] * permissions}


def registered(models, **others):
    """Return the metadata as a registry stores it."""
    return validation.parse_registration(
        services.registration(metadata={**others, **model_metadata(models, others)}), NOW
    ).metadata


def test_a_few_models_are_registered_unchanged():
    models = [model(name, 4) for name in "ab"]
    assert registered(models) == {"models": ["a", "b"], "models_list": models}


def test_objects_that_are_too_large_together_lose_nested_fields_first():
    metadata = registered([model(f"adapter-{n}", 4) for n in range(200)])
    assert len(metadata["models"]) == 200
    assert metadata["models_list"][0] == {"id": "adapter-0", "object": "model", "max_model_len": 4096}


@pytest.mark.parametrize("length", [100, 512])
def test_as_many_models_as_fit_are_registered(length):
    metadata = registered([model(f"{n:03}" + "x" * (length - 3), 4) for n in range(300)], note="n" * 20000)
    assert metadata["models_list"][0] == {"id": "000" + "x" * (length - 3), "object": "model"}
    assert 30 < len(metadata["models"]) <= MAX_MODELS


def test_neither_too_many_models_nor_invalid_ids_are_registered():
    metadata = registered([model("a\x1b[2J"), model("x" * 513), *(model(str(n)) for n in range(300))])
    assert metadata["models"] == [str(n) for n in range(MAX_MODELS)]


def test_metadata_that_is_too_large_alone_leaves_room_for_no_model():
    others = {"note": "n" * MAX_METADATA_BYTES}
    assert model_metadata([model("a")], others) == {"models": [], "models_list": []}


def test_an_instance_on_demand_is_registered_with_what_routers_need_to_wake_it():
    on_demand = {"on_demand": True, "wake_timeout": 600, "resources": {"gpus": [0]}}
    (_, instance) = registrations(instance_config(), LifecycleState.ASLEEP, [{"id": "a"}], "h", on_demand=on_demand)
    assert instance.status == "asleep"
    assert instance.fields["metadata"].items() >= {**on_demand, "models": ["a"]}.items()
