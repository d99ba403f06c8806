"""`svc drain`, `svc undrain` and `svc remove` act on all names or on none."""

import pytest

from svc.base.errors import CommandError, NotFound
from svc.rollout.drain import drain, hand_over, remove, undrain, wait_until_idle
from tests.unit.client.listed_services import BABYSITTER, service
from tests.unit.client.page_server import PageServer


class ListedServices:
    """A registry that lists one instance, its babysitter and another instance."""

    urls = ("http://registry",)
    token_file = ""
    knows_handovers = True

    def __init__(self, drained=False):
        self.calls = []
        self.llama = service("llama-server", drained=drained)

    def services(self):
        return [service("qwen-server"), BABYSITTER, self.llama]

    def drain(self, name, drained=True, handover=False):
        self.calls.append((name, drained, *["handover"] * handover))
        return {"handover": True} if handover and self.knows_handovers else {}

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


class IdleLater(PageServer):
    """A router with requests in flight at an instance, until its streams are handed over, but for one."""

    def __init__(self):
        super().__init__({"/metrics": (200, self.metrics(3))})
        self.notes = []

    @staticmethod
    def metrics(count, staying=0):
        handover = f'svc_router_handover_requests{{instance="a",state="tool_call"}} {staying}\n' if staying else ""
        up = 'svc_router_instance_up{instance="a"} 0\n'
        return f'{up}svc_router_requests_in_flight{{instance="a"}} {count}\n{handover}'

    def show(self, name, text):
        self.notes.append(f"{name}: {text}")

    def note(self, text):
        self.notes.append(text)

    done = show


@pytest.fixture
def router():
    server = IdleLater()
    yield server
    server.close()


def test_streams_are_handed_over_after_the_given_time(router):
    registry, counts = ListedServices(), [(1, 1), (1, 1), (0, 0)]

    def hand_over_names(names):
        return hand_over(registry, names)

    def sleep(_seconds):
        router.pages["/metrics"] = (200, router.metrics(*counts.pop(0)))

    wait_until_idle(["a"], router.url, 60, router, sleep, 0, hand_over_names)
    assert registry.calls == [("a", True, "handover")]
    assert router.notes == [
        "a: 3 in flight",
        "a: streams move to other instances",
        "a: 1 in flight; 1 waited for (tool call: 1)",
        "a: 1 in flight; 1 waited for (tool call: 1)",
        "a: nothing in flight",
    ]


def test_the_error_names_the_requests_that_are_still_waited_for(router):
    router.pages["/metrics"] = (200, router.metrics(1, 1))
    with pytest.raises(CommandError, match=r"^a: requests in flight after 0 s \(1 in flight; 1 waited for \(tool call"):
        wait_until_idle(["a"], router.url, 0, router, lambda _: None)


def test_a_registry_that_knows_no_handover_lets_all_be_waited_for(router):
    registry = ListedServices()
    registry.knows_handovers = False
    with pytest.raises(CommandError, match="a: requests in flight after 0 s"):
        wait_until_idle(["a"], router.url, 0, router, lambda _: None, 0, lambda names: hand_over(registry, names))
    assert router.notes[1] == "a: all waited for: the registry is older and knows no handover"
