"""Behaviours, and the flags that set them."""

import msgspec
import pytest

from svc.base.errors import BadRequest
from svc.cli.mock import command
from svc.mock.behaviour import Behaviour


def test_every_behaviour_is_a_flag_with_the_same_default():
    flags = {option.name: option.default for option in command.params}
    started_with = {"name", "port", "models", "host", "child", "api_key"}
    started_with |= {"gpu_memory", "gpus", "gpu_state", "load_time", "load_rate", "sleep_memory", "wake_time"}
    context = command.make_context("mock", [])
    assert set(flags) - started_with == set(Behaviour.__struct_fields__)
    assert Behaviour(**{name: context.params[name] for name in Behaviour.__struct_fields__}) == Behaviour()


def test_changes_keep_the_other_fields():
    changed = Behaviour(token_delay=1, cut_after=3).changed({"cut_after": None, "hang": True})
    assert msgspec.structs.asdict(changed) == msgspec.structs.asdict(Behaviour(token_delay=1, hang=True))


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"nope": 1}, "nope"), ({"fail_rate": 2}, "fail_rate"), ({"tokens": 0}, "tokens"), ({"hang": 1}, "hang")],
)
def test_an_invalid_change_is_refused_by_name(changes, name):
    with pytest.raises(BadRequest, match=name):
        Behaviour().changed(changes)


def fails(behaviour: Behaviour, chance: float = 0.5) -> list[bool]:
    return [behaviour.fails(number, chance) for number in range(1, 5)]


def test_which_requests_fail():
    assert not any(fails(Behaviour()))
    assert all(fails(Behaviour(fail_status=500)))
    assert fails(Behaviour(fail_every=2)) == [False, True, False, True]
    assert all(fails(Behaviour(fail_rate=0.3), chance=0.29))
    assert not any(fails(Behaviour(fail_rate=0.3), chance=0.3))
    assert not any(fails(Behaviour(fail_rate=0, fail_status=503), chance=0))
