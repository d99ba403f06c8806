"""Which registered service a name on the command line means."""

import pytest

from svc.base.errors import NotFound
from svc.client.service_names import instance_named, possible_services
from tests.unit.client.listed_services import BABYSITTER, service

BOTH = {"qwen": BABYSITTER, "qwen-server": service()}


def test_an_instance_is_named_by_its_own_name_or_its_babysitters():
    assert instance_named("qwen-server", BOTH) == "qwen-server"
    assert instance_named("qwen", BOTH) == "qwen-server"
    assert instance_named("qwen", {"qwen-server": service()}) == "qwen-server"
    other = {"x": service("x", metadata={"type": "babysitter", "server": "y"}), "y": service("y"), "z": service("z")}
    assert instance_named("x", other) == "y"
    assert instance_named("z", other) == "z"


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        ("qwem-server", BOTH, "did you mean qwen-server?"),
        ("nothing-like-it", BOTH, "svc services list"),
        ("qwen", {"qwen": BABYSITTER}, "qwen is a babysitter whose instance, qwen-server, is not registered"),
    ],
)
def test_a_name_without_a_service_is_refused_with_a_cure(name, services, message):
    with pytest.raises(NotFound, match=message.replace("?", r"\?")):
        instance_named(name, services)


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("qwen", {"qwen", "qwen-server"}),
        ("qwen:server", {"qwen-server"}),
        ("qwen:babysitter", {"qwen"}),
        ("qwen:other", {"qwen:other", "qwen:other-server"}),
        ("", set()),
    ],
)
def test_a_name_may_refer_to_services_that_are_not_registered(name, services):
    assert possible_services(name) == services
