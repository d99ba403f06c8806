"""What `svc plan` says of each kind of change."""

import dataclasses
import json

import pytest

from svc.rollout.availability import Loss
from svc.rollout.diff import Kind, PartChange, difference
from svc.rollout.report import FileRow, lines, report
from tests.unit.rollout.groups import group, instance, program


def told(running=(), wanted=(), rereads=(), states=None, lost=(), files=(), pid=7):
    changes = difference({g.name: g for g in running}, {g.name: g for g in wanted}, rereads)
    return report(changes, files, pid, states or {}, list(lost), [], [])


def text(report):
    return [line for line, _ in lines(report)]


def router(command="run", address="tcp://127.0.0.1:8000"):
    return group("router", program("router", command), socket=address)


def test_nothing():
    assert text(told()) == ["Nothing to do: what runs is what the files say."]
    assert not told().changes


def test_a_changed_server():
    found = told([instance("a", "run --models x")], [instance("a", "run --models x,y")], lost=[Loss("x", "a", False)])
    assert text(found) == [
        "~ a: changed: a:server restarts, a:babysitter restarts, drained first: what it has begun, it finishes",
        "    a:server",
        "      command: --models x -> --models x,y",
        "! x: no instance while a restarts, its last healthy one; that takes --allow-downtime",
        "0 added, 1 changed, 0 removed; 1 instance to restart. `svc apply` does it.",
    ]


def test_a_babysitter_alone():
    [line, *_] = text(told([instance("a")], [instance("a", babysitter="watch --more")], ["a"]))
    assert line == "~ a: changed: a:babysitter restarts; a:server runs on"
    [line, *_, last] = text(told([instance("a")], [instance("a")], ["a"]))
    assert line == "~ a: changed: a:babysitter restarts to read its TOML again; a:server runs on"
    assert "0 instances to restart" in last


def test_what_was_stopped_by_hand_starts():
    found = told([instance("a", "x")], [instance("a", "y")], states={"a:server": "STOPPED", "a:babysitter": "RUNNING"})
    assert [(p.name, p.effect) for p in found.parts[0].programs] == [
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
            "its store is another",
        ),
    ],
)
def test_what_becomes_of_router_and_registry(running, wanted, effect):
    assert effect in text(told(running, wanted))[0]


def test_what_is_removed_needs_no_details_and_what_is_added_tells_its_command():
    assert len(text(told([instance("a")], []))) == 2
    assert "      command: + run" in text(told([], [instance("a")]))


def test_with_no_supervisord_everything_starts():
    added = [PartChange("a", Kind.ADDED, "babysitter", members=("a:server", "a:babysitter"))]
    found = report(added, [], None, {}, [], [], [])
    assert text(found)[0] == "+ a: added: a:server starts, a:babysitter starts"
    assert "`svc up` starts all of it" in text(found)[-1]


def test_files_that_only_differ_in_their_text_are_something_to_do():
    found = told(files=[FileRow("conf.d/a.conf", "changed")])
    assert found.changes
    assert text(found)[0] == "~ conf.d/a.conf: changed"


def test_no_secret_is_in_it_and_all_of_it_is_json():
    old = instance("a", "run --api-key hunter2", environment={"HF_TOKEN": "hunter2"})
    new = instance("a", "run --api-key hunter3", environment={"HF_TOKEN": "hunter3"})
    for found in (told([old], [new]), told([], [new]), told([old], [])):
        assert "hunter" not in json.dumps(dataclasses.asdict(found)) + "".join(text(found))
    assert "(another value)" in "".join(text(told([old], [new])))
