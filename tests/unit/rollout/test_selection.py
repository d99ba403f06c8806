import dataclasses

import pytest

from svc.base.errors import CommandError
from svc.rollout.selection import select_instances
from svc.site.components import Component

PARTS = [
    Component("registry", "registry", "", (18000,), ("registry",)),
    *(Component(name, "babysitter", "localhost", (8100,), (f"{name}:server", f"{name}:babysitter")) for name in "abc"),
]
SERVICES = {f"{name}-server": {"metadata": {"models": models}} for name, models in (("a", ["m", "n"]), ("b", ["m"]))}
STATES = {"a:server": "RUNNING", "b:server": "FATAL", "c:server": "STOPPED"}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["b"], "b"),
        (["b-server", "b"], "b"),
        (["m"], "ab"),
        (["n"], "a"),
        (["all"], "ab"),
        (["c", "all"], "cab"),
    ],
)
def test_an_argument_is_an_instance_a_model_or_all_that_are_started(arguments: list[str], names: str):
    assert "".join(component.name for component in select_instances(arguments, PARTS, SERVICES, STATES)) == names


@pytest.mark.parametrize("argument", ["x", "registry", "m-server"])
def test_an_unknown_argument_is_an_error(argument: str):
    with pytest.raises(CommandError, match="no instance of this host has this name or model; "):
        select_instances(["a", argument], PARTS, SERVICES, STATES)


def test_an_instance_that_is_asleep_is_selected_with_its_model_and_with_all():
    on_demand = [dataclasses.replace(component, on_demand=True) for component in PARTS]
    services = {**SERVICES, "c-server": {"metadata": {"models": ["m"]}}}
    assert [c.name for c in select_instances(["all"], on_demand[1:], services, STATES)] == ["a", "b", "c"]
    assert [c.name for c in select_instances(["m"], on_demand[1:], services, STATES)] == ["a", "b", "c"]
