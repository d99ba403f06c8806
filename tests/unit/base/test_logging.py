"""The log lines of svc's own programs."""

import json
import logging

import pytest

from svc.base import logging as log

pytestmark = pytest.mark.usefixtures("restored_logging")


def logged(monkeypatch, capsys, write, **environ):
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    log.configure()
    write(logging.getLogger("svc.part"))
    return capsys.readouterr().err


def test_the_default_format_is_text(monkeypatch, capsys):
    monkeypatch.delenv("SVC_LOG_FORMAT", raising=False)
    text = logged(monkeypatch, capsys, lambda part: part.warning("%s is gone", "a"))
    assert text.endswith(" WARNING svc.part: a is gone\n")


def test_json_has_one_object_on_each_line(monkeypatch, capsys):
    def write(part):
        part.info('two\nlines and a "quote"', extra={"request_id": "r-1"})
        try:
            raise ValueError("why")
        except ValueError:
            part.exception("failed")

    first, second = logged(monkeypatch, capsys, write, SVC_LOG_FORMAT="json").splitlines()
    fields = json.loads(first)
    assert fields.pop("time")[10:11] + fields.pop("x", "Z") == "TZ"
    assert fields == {
        "level": "INFO",
        "logger": "svc.part",
        "message": 'two\nlines and a "quote"',
        "request_id": "r-1",
    }
    assert "request_id" not in json.loads(second)
    assert json.loads(second)["exception"].endswith("ValueError: why")


def test_the_time_is_utc_with_milliseconds():
    record = logging.makeLogRecord({"created": 1700000000.25, "msecs": 250.0, "msg": "x"})
    assert json.loads(log.JsonFormatter().format(record))["time"] == "2023-11-14T22:13:20.250Z"


def test_invalid_characters_do_not_break_a_json_line():
    record = logging.makeLogRecord({"msg": "%s", "args": ("\ud800\u2028\x00",)})
    assert len(log.JsonFormatter().format(record).encode("ascii").splitlines()) == 1


def test_a_message_cannot_forge_a_line_or_control_a_terminal(monkeypatch, capsys):
    def write(part):
        part.info("%s came", "x\n2026-01-01 INFO svc: fine\x9b31m\x1b]0;T\x07\u202e")
        try:
            raise ValueError("a\x1b[2J")
        except ValueError:
            part.exception("failed")

    monkeypatch.delenv("SVC_LOG_FORMAT", raising=False)
    first, *rest = logged(monkeypatch, capsys, write).splitlines()
    assert first.endswith(r"svc.part: x\n2026-01-01 INFO svc: fine\x9b31m\x1b]0;T\x07\u202e came")
    assert rest[0].endswith("svc.part: failed")
    assert rest[1] == "Traceback (most recent call last):"
    assert rest[-1] == r"ValueError: a\x1b[2J"
