import pytest

from svc.base.errors import ConfigError
from svc.rollout.port_order import held_ports, port_waits
from svc.supervision.program_config import GroupConfig, ProgramConfig


def group(name: str, *commands: str, **keys: str) -> GroupConfig:
    programs = {f"{name}:{n}": ProgramConfig(f"{name}:{n}", {"command": text}, {}) for n, text in enumerate(commands)}
    return GroupConfig(name, keys, programs)


def test_held_ports_are_read_from_commands_and_the_socket():
    babysitter = "svc launch --own --port 8101 --death-signal TERM -- svc babysitter --config-file a"
    ports = held_ports(
        {
            "a": group("a", "svc launch --port 8100 -- python3 -m server --port 9999", babysitter),
            "router": group(
                "router", "svc launch --own -- svc router --fd 0 --port 8000", socket="tcp://127.0.0.1:8200"
            ),
            "mine": group("mine", "sleep 1000"),
        }
    )
    assert ports == {"a": {8100, 8101}, "router": {8200}, "mine": set()}


def test_an_instance_waits_for_those_that_leave_its_port():
    wanted = {"new": (8100, 8101), "b": (8200, 8201), "c": (8300, 8301)}
    held = {"old": {8100, 8101}, "b": {8201, 8202}, "stays": {8300}}
    assert port_waits(wanted, held, ["old", "b"]) == {"new": {"old"}, "b": set(), "c": set()}


def test_a_chain_is_allowed_and_a_cycle_is_an_error():
    held = {"a": {1}, "b": {2}, "c": {3}}
    assert port_waits({"a": (2,), "b": (3,), "c": (4,)}, held, "abc") == {"a": {"b"}, "b": {"c"}, "c": set()}
    with pytest.raises(ConfigError, match="^a: port: it is to get a port of b and c, and the other way round; "):
        port_waits({"a": (2,), "b": (3,), "c": (1,)}, held, "abc")
