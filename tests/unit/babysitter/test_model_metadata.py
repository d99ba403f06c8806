"""Models as they are registered: within the limits, and as many as can be."""

import pytest

from svc.babysitter.model_metadata import model_metadata
from svc.protocol.service import MAX_METADATA_BYTES, MAX_MODELS
from svc.registry import validation
from tests.unit.registry.services import NOW, registration


def model(name, permissions=0):
    return {"id": name, "object": "model", "max_model_len": 4096, "permission": [{"id": "p" * 100}] * permissions}


def registered(models, **others):
    """Return the metadata, as a registry takes it."""
    return validation.registration(registration(metadata={**others, **model_metadata(models, others)}), NOW).metadata


def test_a_few_models_are_registered_whole():
    models = [model(name, 4) for name in "ab"]
    assert registered(models) == {"models": ["a", "b"], "models_list": models}


def test_objects_that_are_too_large_together_lose_what_is_nested_first():
    metadata = registered([model(f"adapter-{n}", 4) for n in range(200)])
    assert len(metadata["models"]) == 200
    assert metadata["models_list"][0] == {"id": "adapter-0", "object": "model", "max_model_len": 4096}


@pytest.mark.parametrize("length", [100, 512])
def test_as_many_as_fit_are_registered(length):
    metadata = registered([model(f"{n:03}" + "x" * (length - 3), 4) for n in range(300)], note="n" * 20000)
    assert metadata["models_list"][0] == {"id": "000" + "x" * (length - 3), "object": "model"}
    assert 30 < len(metadata["models"]) <= MAX_MODELS


def test_no_more_than_a_registry_takes_and_no_id_that_it_refuses():
    metadata = registered([model("a\x1b[2J"), model("x" * 513), *(model(str(n)) for n in range(300))])
    assert metadata["models"] == [str(n) for n in range(MAX_MODELS)]


def test_metadata_that_is_too_large_by_itself_leaves_room_for_no_model():
    others = {"note": "n" * MAX_METADATA_BYTES}
    assert model_metadata([model("a")], others) == {"models": [], "models_list": []}
