"""Which instances on demand have to be awake."""

import time

import pytest

from svc.config.awake_rules import ModelRule
from svc.router.balance.routing_table import build
from svc.router.balance.target import Target
from svc.router.waking.need import ModelInstances, instances_on_demand, need_of
from tests.unit.router.examples import target


def on_demand(name: str, status: str = "asleep", **more: object) -> Target:
    return target(name, "m", status=status, metadata={"on_demand": True}, **more)


A, B, C = on_demand("a"), on_demand("b"), on_demand("c")
DEFAULT = ModelRule("m")


def test_instances_are_found_by_what_they_do():
    table = build(
        [
            on_demand("awake", "running"),
            on_demand("starting", "starting"),
            on_demand("sleeping"),
            on_demand("releasing", "draining"),
            on_demand("failed", "failed"),
            on_demand("drained", drained=True),
            target("always", "m"),
            target("other", "n"),
        ],
        lambda target: True,
    )
    found = instances_on_demand(table)
    assert list(found) == ["m"], "models without an instance on demand are left out"
    names = [[t.name for t in group] for group in (found["m"].awake, found["m"].starting, found["m"].asleep)]
    assert (names, found["m"].permanent) == ([["awake"], ["starting"], ["releasing", "sleeping"]], 1)


def test_many_models_on_many_instances_take_no_time():
    """Each change of the table looks at them, and the router relays nothing meanwhile."""
    many = [
        target(f"i{n}", *[f"m{n}-{k}" for k in range(256)], status="asleep", metadata={"on_demand": True})
        for n in range(64)
    ]
    table = build(many, lambda target: True)
    before = time.process_time()
    found = instances_on_demand(table)
    assert time.process_time() - before < 1
    assert len(found) == 64 * 256
    assert {len(instances.asleep) for instances in found.values()} == {1}


@pytest.mark.parametrize(
    ("instances", "waiting", "oldest", "unchanged", "rule", "more"),
    [
        (ModelInstances(asleep=(A, B)), 0, 0, 99, DEFAULT, 0),
        (ModelInstances(asleep=(A, B)), 1, 0, 99, DEFAULT, 1),
        (ModelInstances(asleep=(A, B)), 900, 60, 99, DEFAULT, 1),
        (ModelInstances(starting=(A,), asleep=(B,)), 9, 60, 99, DEFAULT, 0),
        (ModelInstances(awake=(A,), asleep=(B,)), 9, 4, 99, DEFAULT, 0),
        (ModelInstances(awake=(A,), asleep=(B,)), 9, 6, 99, DEFAULT, 1),
        (ModelInstances(awake=(A,), asleep=(B,)), 9, 60, 1, DEFAULT, 0),
        (ModelInstances(awake=(A,), asleep=(B,)), 9, 60, 99, ModelRule("m", awake_max=1), 0),
        (ModelInstances(permanent=1, asleep=(B,)), 9, 6, 99, DEFAULT, 1),
        (ModelInstances(permanent=1, asleep=(B,)), 9, 1, 99, DEFAULT, 0),
        (ModelInstances(asleep=(A, B, C)), 0, 0, 99, ModelRule("m", awake_min=2), 2),
        (ModelInstances(awake=(A,), asleep=(B, C)), 0, 0, 99, ModelRule("m", awake_min=2), 1),
        (ModelInstances(permanent=2, asleep=(B, C)), 0, 0, 99, ModelRule("m", awake_min=2), 0),
        (ModelInstances(), 5, 9, 99, DEFAULT, 0),
    ],
)
def test_how_many_more_are_woken(instances, waiting, oldest, unchanged, rule, more):
    assert need_of(instances, waiting, oldest, unchanged, rule).more == more


def test_awake_instances_hear_of_the_requests_that_wait_and_are_kept_awake_by_the_rules():
    instances = ModelInstances(awake=(A, B), starting=(C,))
    assert not need_of(instances, 0, 0, 99, DEFAULT)
    assert need_of(instances, 3, 1, 99, DEFAULT).demanded == (A, B, C)
    assert need_of(instances, 0, 0, 99, ModelRule("m", awake_min=1)).kept_awake == (A,)
    need = need_of(ModelInstances(awake=(A,), asleep=(B, C)), 9, 60, 99, ModelRule("m", awake_min=2))
    assert (need.more, need.more_kept_awake) == (1, 1)
