"""Programs that need no drain are updated in a fixed order, each by the smallest change of supervisord."""

import pytest

from svc.base.errors import CommandError
from svc.rollout.diff import ChangeKind, Edit, GroupChange, ProgramChange
from svc.rollout.renew import renew, wait_until_ready


class RecordingSupervisord:
    """Records the methods that are called, with the name of the program or group."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, method):
        return lambda name: self.calls.append((method, name))


class SilentProgress:
    def __init__(self):
        self.lines = []

    def show(self, name, text):
        pass

    def done(self, name, text):
        self.lines.append(f"{name}: {text}")

    def note(self, text):
        self.lines.append(text)


def changed(name, kind="", **more):
    program = ProgramChange(name, ChangeKind.CHANGED, (Edit("command", "a", "b"),))
    return GroupChange(name, ChangeKind.CHANGED, kind, programs=(program,), **more)


def renewed(*changes):
    """Return the calls and the progress lines for changes of programs whose readiness is not checked."""
    supervisord, progress = RecordingSupervisord(), SilentProgress()
    renew(changes, {}, supervisord, progress, timeout=1)
    return supervisord.calls, progress.lines


def test_the_registry_comes_first_then_the_router_then_babysitters_then_other_programs():
    stale = GroupChange("qwen", ChangeKind.CHANGED, "babysitter", stale_config=True)
    calls, lines = renewed(changed("cron"), stale, changed("router", "router"), changed("registry", "registry"))
    assert calls == [
        ("replace", "registry"),
        ("replace", "router"),
        ("hand_over", "qwen:babysitter"),
        ("remove", "cron"),
        ("add", "cron"),
    ]
    assert lines[0] == "registry: done: replace the program"


@pytest.mark.parametrize(("kind", "call"), [(ChangeKind.ADDED, "add"), (ChangeKind.REMOVED, "remove")])
def test_a_group_is_added_or_removed_as_a_whole(kind, call):
    assert renewed(GroupChange("cron", kind, ""))[0] == [(call, "cron")]


def test_a_component_that_is_not_ready_in_time_is_an_error_that_names_it():
    with pytest.raises(CommandError, match=r"router: it does not answer after 0 s; see `svc status`"):
        wait_until_ready("router", lambda: False, timeout=0)


def test_waiting_ends_as_soon_as_the_component_is_ready():
    answers = iter([False, True])
    wait_until_ready("router", lambda: next(answers), timeout=10)
    assert next(answers, None) is None
