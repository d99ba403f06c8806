"""`svc drain`, `svc undrain` and `svc remove` act on all names or on none."""

import pytest

from svc.base.errors import NotFound
from svc.rollout.drain import drain, remove, undrain
from tests.unit.client.listed_services import BABYSITTER, service


class ListedServices:
    """A registry that lists one instance, its babysitter and another instance."""

    urls = ("http://registry",)
    token_file = ""

    def __init__(self, drained=False):
        self.calls = []
        self.llama = service("llama-server", drained=drained)

    def services(self):
        return [service("qwen-server"), BABYSITTER, self.llama]

    def drain(self, name, drained=True):
        self.calls.append((name, drained))

    def deregister(self, name):
        self.calls.append((name, "removed"))


def test_the_name_of_a_babysitter_drains_its_instance_once():
    registry = ListedServices()
    assert drain(registry, ["qwen", "qwen-server", "llama"]) == ["qwen-server", "llama-server"]
    assert registry.calls == [("qwen-server", True), ("llama-server", True)]


def test_an_instance_is_undrained_by_the_name_of_its_babysitter():
    registry = ListedServices()
    assert undrain(registry, ["qwen"]) == {"qwen-server": False}
    assert registry.calls == [("qwen-server", False)]


def test_an_undrain_reports_which_instances_were_drained():
    assert undrain(ListedServices(drained=True), ["qwen", "llama"]) == {"qwen-server": False, "llama-server": True}


def test_only_the_service_of_exactly_this_name_is_removed():
    registry = ListedServices()
    assert remove(registry, ["qwen"]) == ["qwen"]
    assert registry.calls == [("qwen", "removed")]


@pytest.mark.parametrize("action", [drain, undrain, remove])
def test_one_unknown_name_stops_the_command_before_it_changes_anything(action):
    registry = ListedServices()
    with pytest.raises(NotFound, match="no service 'qwem' is registered"):
        action(registry, ["qwen", "qwem"])
    assert registry.calls == []
