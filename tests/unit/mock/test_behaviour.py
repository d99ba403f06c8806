"""Behaviours and their flags."""

import msgspec
import pytest

from svc.base.errors import BadRequest
from svc.cli.mock import command
from svc.mock.behaviour import Behaviour


def test_every_behaviour_is_a_flag_with_the_same_default():
    flags = {option.name: option.default for option in command.params}
    started_with = {"name", "port", "models", "host", "child", "api_key"}
    context = command.make_context("mock", [])
    assert set(flags) - started_with == set(Behaviour.__struct_fields__)
    assert Behaviour(**{name: context.params[name] for name in Behaviour.__struct_fields__}) == Behaviour()


def test_changes_keep_the_rest():
    changed = Behaviour(token_delay=1, cut_after=3).changed({"cut_after": None, "hang": True})
    assert msgspec.structs.asdict(changed) == msgspec.structs.asdict(Behaviour(token_delay=1, hang=True))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"nope": 1}, "nope"), ({"fail_rate": 2}, "fail_rate"), ({"tokens": 0}, "tokens"), ({"hang": 1}, "hang")],
)
def test_what_cannot_be_is_named(changes, named):
    with pytest.raises(BadRequest, match=named):
        Behaviour().changed(changes)


def fails(behaviour: Behaviour, chance: float = 0.5) -> list[bool]:
    return [behaviour.fails(turn, chance) for turn in range(1, 5)]


def test_who_fails():
    assert not any(fails(Behaviour()))
    assert all(fails(Behaviour(fail_status=500)))
    assert fails(Behaviour(fail_every=2)) == [False, True, False, True]
    assert all(fails(Behaviour(fail_rate=0.3), chance=0.29))
    assert not any(fails(Behaviour(fail_rate=0.3), chance=0.3))
    assert not any(fails(Behaviour(fail_rate=0, fail_status=503), chance=0))
