from svc.site.shutdown import kind_of, stop_phases
from tests.unit.site.snapshots import process


def test_the_router_stops_first_and_the_registry_after_the_babysitters():
    names = ["registry", "router", "a:server", "a:babysitter", "b:server", "b:babysitter", "mine"]
    assert stop_phases({name: process(name) for name in names}) == [
        ["router"],
        ["a:babysitter", "b:babysitter"],
        ["registry", "a:server", "b:server", "mine"],
    ]


def test_a_program_that_has_ended_is_not_stopped():
    states = {"router": "FATAL", "a:server": "STOPPED", "a:babysitter": "EXITED", "registry": "BACKOFF"}
    assert stop_phases({name: process(name, state) for name, state in states.items()}) == [["registry"]]


def test_the_kind_of_component_that_a_program_belongs_to():
    assert kind_of(process("router")) == "router"
    assert kind_of(process("a:server")) == kind_of(process("a:babysitter")) == "babysitter"
    assert kind_of(process("server")) == kind_of(process("mine")) == ""
