"""Two programs on one port, two instances of one name: the later file is named first."""

import pytest

from svc.config.instance.collisions import Claim, collisions
from svc.config.settings_file import load_settings


def collisions_of(*claims, **environ):
    return collisions(
        [Claim(f"{chr(97 + n)}.toml", *claim) for n, claim in enumerate(claims)], load_settings(environ=environ)
    )


def test_ports_beside_each_other_do_not_collide():
    assert collisions_of(("x", 8100), ("y", 8102), ("z", 8104)) == []


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        (8100, 8100, "b.toml: port: 8100 is also the instance's of a.toml; choose another port"),
        (8100, 8101, "b.toml: port: 8101 is also the babysitter's of a.toml (its port + 1); choose another port"),
        (8100, 8099, "b.toml: port: 8100, needed for the babysitter, is also the instance's of a.toml"),
    ],
)
def test_ports_of_two_files_collide(first, second, line):
    assert any(problem.startswith(line) for problem in collisions_of(("x", first), ("y", second)))


@pytest.mark.parametrize("port", [17999, 18000, 7999, 8000])
def test_a_port_of_registry_or_router_collides(port):
    (line,) = collisions_of(("x", port))
    assert f"is also the {'registry' if port > 10000 else 'router'}'s; choose another port" in line


def test_registry_and_router_elsewhere_take_no_port_here():
    assert collisions_of(("x", 8000), ("y", 18000), LAUNCH_COMPONENTS="babysitter") == []


def test_registry_and_router_on_one_port_collide():
    assert collisions_of(ROUTER_PORT="18000") == ["router: port: 18000 is also the registry's; choose another"]


def test_equal_names_collide():
    (line,) = collisions_of(("x", 8100), ("x", 8110))
    assert line == "b.toml: name: 'x' collides with a.toml; choose another"


@pytest.mark.parametrize("names", [("x", "x-server"), ("x-server", "x")])
def test_a_name_collides_with_the_registered_name_of_another(names):
    (line,) = collisions_of((names[0], 8100), (names[1], 8110))
    assert line == f"b.toml: name: {names[1]!r} collides with a.toml, as 'x-server' in the registry; choose another"


def test_files_with_other_errors_collide_too():
    assert collisions_of((None, 8100), ("y", 8100), (None, None))[0].startswith("b.toml: port: 8100 is also")
