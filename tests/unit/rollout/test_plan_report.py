"""What `svc plan` reports of each kind of change."""

import dataclasses
import json

import pytest

from svc.config.instance.registry_use import RegistryUse, use_line
from svc.rollout.availability import Loss
from svc.rollout.diff import ChangeKind, GroupChange, difference
from svc.rollout.plan_report import FileRow, lines, plan_report
from tests.unit.rollout.groups import group, instance, program


def reported(running=(), wanted=(), stale_configs=(), states=None, lost=(), files=(), pid=7):
    changes = difference({g.name: g for g in running}, {g.name: g for g in wanted}, stale_configs)
    return plan_report(changes, files, pid, states or {}, list(lost), [], [], [])


def text(report):
    return [line for line, _ in lines(report)]


def router(command="run", address="tcp://127.0.0.1:8000"):
    return group("router", program("router", command), socket=address)


def test_without_changes_there_is_nothing_to_do():
    assert text(reported()) == ["Nothing to do: what runs is what the files say."]
    assert not reported().changes


def test_the_registries_of_the_instances_are_shown():
    use = RegistryUse(["a", "b"], ["http://r:1", "http://s:1"], "registry_url", ["http://own:1"])
    report = plan_report([], [], 7, {}, [], [use], [], [])
    assert text(report)[0].strip() == use_line(use)
    assert json.loads(json.dumps(dataclasses.asdict(report)))["registries"] == [
        {
            "instances": ["a", "b"],
            "urls": ["http://r:1", "http://s:1"],
            "setting": "registry_url",
            "unused": ["http://own:1"],
        }
    ]


def test_a_changed_server_shows_its_command_and_the_lost_model():
    report = reported(
        [instance("a", "run --models x")], [instance("a", "run --models x,y")], lost=[Loss("x", "a", False)]
    )
    assert text(report) == [
        "~ a: changed: a:server restarts, a:babysitter restarts, drained first: what it has begun, it finishes",
        "    a:server",
        "      command: --models x -> --models x,y",
        "! x: no instance while a restarts, its last healthy one; svc apply needs --allow-downtime",
        "0 added, 1 changed, 0 removed; 1 instance to restart. `svc apply` does it.",
    ]


def test_a_changed_babysitter_restarts_alone():
    [line, *_] = text(reported([instance("a")], [instance("a", babysitter="watch --more")], ["a"]))
    assert line == "~ a: changed: a:babysitter restarts; a:server runs on"
    [line, *_, last] = text(reported([instance("a")], [instance("a")], ["a"]))
    assert line == "~ a: changed: a:babysitter restarts to read its TOML again; a:server runs on"
    assert "0 instances to restart" in last


def test_a_changed_babysitter_of_an_instance_that_does_not_run_starts_nothing():
    states = {"a:server": "STOPPED", "a:babysitter": "RUNNING"}
    [line, *_] = text(reported([instance("a")], [instance("a")], ["a"], states=states))
    assert line == "~ a: changed: a:babysitter restarts to read its TOML again; a:server stays stopped"


def test_a_program_that_was_stopped_by_hand_starts():
    report = reported(
        [instance("a", "x")], [instance("a", "y")], states={"a:server": "STOPPED", "a:babysitter": "RUNNING"}
    )
    assert [(p.name, p.effect) for p in report.parts[0].programs] == [
        ("a:server", "starts"),
        ("a:babysitter", "restarts"),
    ]


@pytest.mark.parametrize(
    ("running", "wanted", "effect"),
    [
        ([], [router()], "takes requests"),
        ([router()], [], "new ones are refused"),
        ([router()], [router("run --x")], "none is refused"),
        ([router()], [router(address="tcp://127.0.0.1:9000")], "clients of the old one are refused"),
        ([], [group("registry", program("registry"))], "babysitters register"),
        ([group("registry", program("registry"))], [], "routers keep the instances"),
        (
            [group("registry", program("registry", "r --port 1 --store a"))],
            [group("registry", program("registry", "r --port 2 --store a"))],
            "routers go on",
        ),
        (
            [group("registry", program("registry", "r --store a"))],
            [group("registry", program("registry", "r --store b"))],
            "it has another store",
        ),
    ],
)
def test_the_effects_on_router_and_registry_are_named(running, wanted, effect):
    assert effect in text(reported(running, wanted))[0]


def test_an_added_program_shows_its_command_a_removed_one_nothing():
    assert len(text(reported([instance("a")], []))) == 2
    assert "      command: + run" in text(reported([], [instance("a")]))


def test_without_supervisord_everything_starts():
    added = [GroupChange("a", ChangeKind.ADDED, "babysitter", members=("a:server", "a:babysitter"))]
    report = plan_report(added, [], None, {}, [], [], [], [])
    assert text(report)[0] == "+ a: added: a:server starts, a:babysitter starts"
    assert "`svc up` starts all of it" in text(report)[-1]


def test_files_that_differ_in_their_text_only_are_a_change():
    report = reported(files=[FileRow("conf.d/a.conf", "changed")])
    assert report.changes
    assert text(report)[0] == "~ conf.d/a.conf: changed"


def test_a_report_is_json_and_holds_no_secret():
    old = instance("a", "run --api-key hunter2", environment={"HF_TOKEN": "hunter2"})
    new = instance("a", "run --api-key hunter3", environment={"HF_TOKEN": "hunter3"})
    for report in (reported([old], [new]), reported([], [new]), reported([old], [])):
        assert "hunter" not in json.dumps(dataclasses.asdict(report)) + "".join(text(report))
    assert "(another value)" in "".join(text(reported([old], [new])))


def test_an_instance_that_is_asleep_stays_so():
    on_demand = {"SVC_ON_DEMAND": "1"}
    before, after = instance("a", "run", environment=on_demand), instance("a", "run new", environment=on_demand)
    changes = difference({"a": before}, {"a": after}, asleep={"a"})
    report = plan_report(changes, [], 7, {"a:server": "STOPPED", "a:babysitter": "RUNNING"}, [], [], [], [])
    assert text(report)[0] == (
        "~ a: changed: a:server stays asleep, a:babysitter restarts; the new configuration counts when it wakes"
    )
    assert text(report)[-1] == "0 added, 1 changed, 0 removed; 0 instances to restart. `svc apply` does it."


def test_a_new_instance_on_demand_is_not_started():
    report = reported(wanted=[instance("a", environment={"SVC_ON_DEMAND": "1"})])
    assert text(report)[0] == "+ a: added: a:server stays asleep, a:babysitter starts"
    assert text(reported(wanted=[instance("a")]))[0] == "+ a: added: a:server starts, a:babysitter starts"
