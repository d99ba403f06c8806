"""What `svc check` says of several instances of a model that cannot grow with its load."""

import pytest

from svc.config.instance.growth_warnings import growth_warnings
from svc.config.instance.model import MockBackend
from tests.unit.instance_configs import instance_config

LIMIT = {"max_concurrency": 4}


def instance(name, model="qwen", on_demand=True, **metadata):
    backend = MockBackend(models=(model,))
    return instance_config(name=name, source=f"{name}.toml", on_demand=on_demand, backend=backend, metadata=metadata)


def test_an_instance_without_a_limit_keeps_the_others_of_its_model_asleep():
    assert list(growth_warnings([instance("a"), instance("b", **LIMIT), instance("c", "other")])) == [
        "a.toml: metadata.max_concurrency: missing, so that requests for 'qwen' never wait while a is awake, and its "
        "load wakes none of b; add it, such as max_concurrency = 16"
    ]


def test_an_instance_that_is_always_on_needs_a_limit_too():
    [warning] = growth_warnings([instance("a", on_demand=False), instance("b", **LIMIT)])
    assert warning.startswith("a.toml: metadata.max_concurrency: missing")


@pytest.mark.parametrize(
    "configs",
    [
        [instance("a", **LIMIT), instance("b", **LIMIT)],
        [instance("a"), instance("b", "other")],
        [instance("a", on_demand=False), instance("b", on_demand=False)],
        [instance("a", max_concurrency="auto"), instance("b", max_concurrency="auto")],
    ],
)
def test_other_instances_are_right(configs):
    assert not list(growth_warnings(configs))
