import pytest

from svc.base.errors import CommandError
from svc.rollout.selection import meant
from svc.site.components import Component

PARTS = [
    Component("registry", "registry", "", (18000,), ("registry",)),
    *(Component(name, "babysitter", "localhost", (8100,), (f"{name}:server", f"{name}:babysitter")) for name in "abc"),
]
SERVICES = {f"{name}-server": {"metadata": {"models": models}} for name, models in (("a", ["m", "n"]), ("b", ["m"]))}
STATES = {"a:server": "RUNNING", "b:server": "FATAL", "c:server": "STOPPED"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["b"], "b"),
        (["b-server", "b"], "b"),
        (["m"], "ab"),
        (["n"], "a"),
        (["all"], "ab"),
        (["c", "all"], "cab"),
    ],
)
def test_a_word_is_an_instance_a_model_or_all_that_was_not_stopped_by_hand(words: list[str], names: str):
    assert "".join(component.name for component in meant(words, PARTS, SERVICES, STATES)) == names


@pytest.mark.parametrize("word", ["x", "registry", "m-server"])
def test_a_word_that_means_nothing_is_told(word: str):
    with pytest.raises(CommandError, match="no instance of this host has this name or model; "):
        meant(["a", word], PARTS, SERVICES, STATES)
