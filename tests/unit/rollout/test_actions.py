"""What a rollout asks of supervisord and of the registry for each operation on an instance."""

import pytest

from svc.base.errors import Forbidden, NotFound, Unavailable
from svc.rollout.actions import InstanceActions
from svc.rollout.tasks import InstanceOperation, Task


class RecordingSupervisord:
    """Has some groups, and records what it is asked to change."""

    def __init__(self, *groups):
        self.names = set(groups)
        self.calls = []

    def groups(self):
        return set(self.names)

    def changes(self):
        self.calls.append("read the files")

    def add(self, group):
        self.calls.append(f"add {group}")
        self.names.add(group)

    def remove(self, group):
        self.calls.append(f"remove {group}")
        self.names.discard(group)

    def start(self, name, wait):
        assert not wait
        self.calls.append(f"start {name}")

    def stop(self, name, wait):
        assert not wait
        self.calls.append(f"stop {name}")


class RecordingRegistry:
    """Lists some services, and fails with `error` if one is given."""

    urls = ("http://registry",)
    token_file = ""

    def __init__(self, *listed, error=None):
        self.listed = set(listed)
        self.error = error
        self.calls = []

    def drain(self, name, drained, handover):
        self._find(name)
        self.calls.append((name, drained, *["handover"] * handover))

    def deregister(self, name):
        self._find(name)
        self.listed.discard(name)

    def _find(self, name):
        if self.error:
            raise self.error
        if name not in self.listed:
            raise NotFound(f"no service {name!r}")


ADDED = ["read the files", "add a", "start a:*"]


@pytest.mark.parametrize(
    ("operation", "groups", "calls"),
    [
        (InstanceOperation.RESTART, "ab", ["start a:*"]),
        (InstanceOperation.FINISH, "ab", ["start a:*"]),
        (InstanceOperation.FINISH, "b", ADDED),
        (InstanceOperation.REPLACE, "ab", ["remove a", *ADDED]),
        (InstanceOperation.REPLACE, "b", ADDED),
        (InstanceOperation.ADD, "b", ADDED),
        (InstanceOperation.ADD, "ab", ["read the files", "start a:*"]),
        (InstanceOperation.REMOVE, "ab", ["remove a"]),
        (InstanceOperation.REMOVE, "b", []),
    ],
)
def test_an_interrupted_operation_continues_from_the_groups_that_exist(operation, groups, calls):
    supervisord = RecordingSupervisord(*groups)
    InstanceActions(supervisord, None).change(Task("a", operation))
    assert supervisord.calls == calls


def test_an_instance_that_supervisord_does_not_have_is_not_stopped():
    supervisord = RecordingSupervisord("b")
    actions = InstanceActions(supervisord, None)
    actions.stop(Task("a", InstanceOperation.REMOVE))
    actions.stop(Task("b", InstanceOperation.REMOVE))
    assert supervisord.calls == ["stop b:*"]


RESTART = Task("a", InstanceOperation.RESTART)


def test_the_drain_mark_is_set_on_the_instance_not_on_its_babysitter():
    registry = RecordingRegistry("a", "a-server")
    assert InstanceActions(RecordingSupervisord(), registry).set_drained(RESTART, True)
    assert registry.calls == [("a-server", True)]


def test_a_handover_is_part_of_the_drain_mark():
    registry = RecordingRegistry("a", "a-server")
    assert InstanceActions(RecordingSupervisord(), registry).set_drained(RESTART, True, handover=True)
    assert registry.calls == [("a-server", True, "handover")]


def test_an_instance_that_is_not_registered_needs_no_drain_mark():
    assert InstanceActions(RecordingSupervisord(), RecordingRegistry()).set_drained(RESTART, True)


def test_a_drain_mark_is_tried_again_while_no_registry_answers():
    registry = RecordingRegistry(error=Unavailable("refused"))
    assert not InstanceActions(RecordingSupervisord(), registry).set_drained(RESTART, True)


def test_both_services_of_a_removed_instance_leave_the_registry():
    registry = RecordingRegistry("a", "a-server", "b-server")
    assert InstanceActions(RecordingSupervisord(), registry).deregister(RESTART)
    assert registry.listed == {"b-server"}


def test_a_service_that_its_babysitter_has_deregistered_is_no_failure():
    registry = RecordingRegistry("a")
    assert InstanceActions(RecordingSupervisord(), registry).deregister(RESTART)
    assert registry.listed == set()


def test_a_registry_that_refuses_a_removal_is_reported():
    registry = RecordingRegistry("a", "a-server", error=Forbidden("read only"))
    assert not InstanceActions(RecordingSupervisord(), registry).deregister(RESTART)


@pytest.mark.parametrize("operation", [InstanceOperation.REPLACE, InstanceOperation.ADD, InstanceOperation.RESTART])
def test_only_the_babysitter_of_an_instance_on_demand_is_started(operation):
    supervisord = RecordingSupervisord("a")
    InstanceActions(supervisord, None).change(Task("a", operation, on_demand=True, wakes=True))
    assert supervisord.calls[-1] == "start a:babysitter"
