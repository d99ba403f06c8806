import pytest

from svc.base.errors import ConfigError
from svc.rollout.port_order import held, waits
from svc.supervision.programs import Group, Program


def group(name: str, *commands: str, **keys: str) -> Group:
    programs = {f"{name}:{n}": Program(f"{name}:{n}", {"command": text}, {}) for n, text in enumerate(commands)}
    return Group(name, keys, programs)


def test_the_ports_that_are_held_stand_in_the_commands_and_the_socket():
    shim = "svc launch --own --port 8101 --death-signal TERM -- svc babysitter --config-file a"
    found = held(
        {
            "a": group("a", "svc launch --port 8100 -- python3 -m server --port 9999", shim),
            "router": group(
                "router", "svc launch --own -- svc router --fd 0 --port 8000", socket="tcp://127.0.0.1:8200"
            ),
            "mine": group("mine", "sleep 1000"),
        }
    )
    assert found == {"a": {8100, 8101}, "router": {8200}, "mine": set()}


def test_who_needs_a_port_waits_for_those_who_leave_it():
    wanted = {"new": (8100, 8101), "b": (8200, 8201), "c": (8300, 8301)}
    there = {"old": {8100, 8101}, "b": {8201, 8202}, "stays": {8300}}
    assert waits(wanted, there, ["old", "b"]) == {"new": {"old"}, "b": set(), "c": set()}


def test_a_chain_is_fine_and_a_circle_is_told():
    there = {"a": {1}, "b": {2}, "c": {3}}
    assert waits({"a": (2,), "b": (3,), "c": (4,)}, there, "abc") == {"a": {"b"}, "b": {"c"}, "c": set()}
    with pytest.raises(ConfigError, match="^a: port: it is to get a port of b and c, and the other way round; "):
        waits({"a": (2,), "b": (3,), "c": (1,)}, there, "abc")
