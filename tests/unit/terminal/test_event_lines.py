"""Events as lines for people and for programs."""

import io
import json
import time
from typing import Any

import pytest

from svc.protocol.event import EVENT_KINDS
from svc.terminal.console import Console
from svc.terminal.event_lines import MAX_SERVICE_COLUMNS, EventPrinter, event_line


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def event(service: str = "a-server", **fields: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "time": "2026-01-02T03:04:05.678Z",
        "kind": "expired",
        "level": "bad",
        "service": service,
        "source": "registry",
        "message": "silent for 90 s",
        **fields,
    }


def printed(events: list[dict[str, Any]]) -> list[str]:
    out = io.StringIO()
    EventPrinter(Console(file=out), as_json=False).print(events)
    return out.getvalue().splitlines()


def test_a_line_has_time_kind_service_and_message():
    assert event_line(event()).plain == "01-02 03:04:05  expired       a-server  silent for 90 s"


def test_a_blank_follows_each_kind_and_all_services_are_aligned():
    lines = [event_line(event(kind=kind)).plain for kind in EVENT_KINDS]
    assert {line.index(" a-server") for line in lines} == {len("01-02 03:04:05  resume-failed")}


def test_a_source_other_than_the_registry_is_shown():
    assert event_line(event(source="router-1", message="")).plain.endswith("a-server  (router-1)")


def test_a_time_that_is_no_timestamp_is_shown_unchanged():
    assert event_line(event(time="soon")).plain.startswith("soon  expired")


def test_messages_are_aligned_after_the_longest_service():
    lines = printed([event("a"), event("a-longer-name")])
    assert len({line.index("silent") for line in lines}) == 1


def test_one_very_long_name_does_not_shift_the_others():
    lines = printed([event("a"), event("x" * 200)])
    assert lines[0].index("silent") == len("01-02 03:04:05  expired       ") + MAX_SERVICE_COLUMNS + 2


def test_programs_get_one_json_object_per_line(capsys):
    EventPrinter(Console(), as_json=True).print([event("a"), event("b")])
    assert [json.loads(line)["service"] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]
