"""Programs that need no drain are updated in a fixed order, each by the smallest change of supervisord."""

from types import SimpleNamespace

import pytest

from svc.base.errors import CommandError
from svc.rollout.diff import ChangeKind, Edit, GroupChange, ProgramChange
from svc.rollout.renew import renew, restart_asleep, wait_until_ready
from svc.site.components import Component
from svc.terminal.delay_report import DelayReport


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
        ("replace_babysitter", "qwen:babysitter"),
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


class SleepingSupervisord(RecordingSupervisord):
    """The server of `qwen` is in the state `state`; its babysitter is replaced at once."""

    def __init__(self, state):
        super().__init__()
        self.state = state
        self.pid = 1

    def processes(self):
        return {"qwen:server": SimpleNamespace(state=self.state)}

    def process(self, name):
        return SimpleNamespace(state="RUNNING", pid=self.pid)

    def replace_babysitter(self, name):
        self.calls.append(("replace_babysitter", name))
        self.pid += 1


ON_DEMAND = Component("qwen", "babysitter", "127.0.0.1", (1, 1), ("qwen:server", "qwen:babysitter"), on_demand=True)


@pytest.fixture
def answering(monkeypatch):
    monkeypatch.setattr("svc.rollout.renew.loaded_config_digest", lambda component: "digest")


def sleeping_change():
    server = ProgramChange("qwen:server", ChangeKind.CHANGED, (Edit("command", "a", "b"),))
    return GroupChange("qwen", ChangeKind.CHANGED, "babysitter", programs=(server,), asleep=True)


@pytest.mark.usefixtures("answering")
@pytest.mark.parametrize("state", ["STOPPED", "FATAL"])
def test_what_is_asleep_gets_its_configuration_and_a_new_babysitter(state):
    supervisord, progress = SleepingSupervisord(state), SilentProgress()
    renew([sleeping_change()], {"qwen": ON_DEMAND}, supervisord, progress, timeout=1)
    assert supervisord.calls == [("replace", "qwen:server"), ("replace_babysitter", "qwen:babysitter")]
    assert progress.lines == ["qwen: done: replace what is asleep"]


@pytest.mark.usefixtures("answering")
def test_what_has_woken_since_the_plan_is_left_alone():
    supervisord = SleepingSupervisord("STARTING")
    with pytest.raises(CommandError, match="qwen: it has woken meanwhile; run this again"):
        renew([sleeping_change()], {"qwen": ON_DEMAND}, supervisord, SilentProgress(), timeout=1)
    assert supervisord.calls == []


@pytest.mark.usefixtures("answering")
def test_the_restart_of_what_is_asleep_leaves_it_asleep():
    supervisord = SleepingSupervisord("STOPPED")
    restart_asleep(ON_DEMAND, supervisord, 1, DelayReport(None, lambda line: None))
    assert supervisord.calls == [("stop", "qwen:server"), ("replace_babysitter", "qwen:babysitter")]
