"""Which models an instance is registered with before it has listed any."""

import pytest

from svc.babysitter.on_demand.expected_models import command_digest, expected_models
from svc.babysitter.on_demand.last_models import LastLife
from svc.config.instance.model import CommandBackend, MockBackend, VllmBackend
from tests.unit.instance_configs import instance_config

COMMAND = CommandBackend(command=("server",), args=("--port", "8100"))


def names(config, last=None):
    return [model["id"] for model in expected_models(config, last or LastLife())]


def lived(config, *models):
    return LastLife(tuple({"id": model} for model in models), 1.0, command_digest(config))


@pytest.mark.parametrize(
    ("backend", "metadata", "expected"),
    [
        (MockBackend(models=("a", "b")), {}, ["a", "b"]),
        (VllmBackend(model="org/qwen"), {}, ["org/qwen"]),
        (VllmBackend(model="org/qwen", args=("--served-model-name", "qwen", "q2", "--tp", "2")), {}, ["qwen", "q2"]),
        (VllmBackend(model="org/qwen", args=("--served-model-name=qwen",)), {}, ["qwen"]),
        (CommandBackend(command=("llama-server",), args=("--alias", "tiny")), {}, ["tiny"]),
        (COMMAND, {}, []),
        (COMMAND, {"models": ["whisper"]}, ["whisper"]),
    ],
)
def test_before_its_first_life_the_toml_decides(backend, metadata, expected):
    assert names(instance_config(backend=backend, metadata=metadata)) == expected


def test_afterwards_it_has_the_models_of_its_last_life():
    config = instance_config(backend=COMMAND)
    assert names(config, lived(config, "c", "d")) == ["c", "d"]


def test_the_models_of_another_command_are_not_used_if_the_command_names_its_own():
    before = instance_config(backend=MockBackend(models=("a",)))
    after = instance_config(backend=MockBackend(models=("b",)))
    assert names(after, lived(before, "a")) == ["b"]


def test_a_changed_argument_does_not_make_the_models_unknown():
    before, after = instance_config(backend=COMMAND), instance_config(backend=CommandBackend(command=("server",)))
    assert names(after, lived(before, "c")) == ["c"]


def test_models_in_the_metadata_replace_those_of_the_last_life():
    before = instance_config(backend=COMMAND)
    assert names(instance_config(backend=COMMAND, metadata={"models": ["new"]}), lived(before, "old")) == ["new"]
