import json
import os
from pathlib import Path

import msgspec
import pytest

from svc.base.printable import is_unsafe
from svc.router.telemetry.access_log import AccessLog
from svc.router.telemetry.statistics import RequestRecord
from tests.unit.router.examples import state
from tests.unit.router.telemetry.records import record


def test_no_access_log_is_written_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    router = state(access_log="")
    router.statistics.record_request(record(), None, b"", "m")
    router.sweep()
    assert router.access_log is None
    assert not list(tmp_path.iterdir())


def test_lines_are_written_at_the_flush(tmp_path: Path):
    path = tmp_path / "log"
    log = AccessLog(str(path), False)
    log.flush()
    assert not path.exists()
    for n in range(3):
        log.add(record(id=str(n)))
    log.flush()
    log.flush()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["0", "1", "2"]
    assert lines[0]["duration"] == 1.5


def test_a_file_that_was_moved_or_removed_is_opened_anew(tmp_path: Path):
    path = tmp_path / "log"
    log = AccessLog(str(path), False)
    for n, change in enumerate((lambda: os.rename(path, tmp_path / "old"), path.unlink, lambda: None)):
        log.add(record(id=str(n)))
        log.flush()
        assert json.loads(path.read_text())["id"] == str(n)
        change()


def test_a_failure_is_logged_once_until_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "no" / "log"
    log = AccessLog(str(path), False)

    def write() -> int:
        log.add(record())
        log.flush()
        return len(caplog.records)

    assert [write(), write()] == [1, 1]
    path.parent.mkdir()
    assert write() == 1
    assert len(path.read_text().splitlines()) == 1  # lines that could not be written are lost
    path.unlink()
    path.parent.rmdir()
    assert [write(), write()] == [2, 2]
    assert caplog.messages[0].endswith("cannot write the access log: No such file or directory; lines are lost")


@pytest.mark.parametrize("odd", ["a b", "a\nb", 'a"b', "é", "\x00", "tab\t", "\u2028"])
def test_a_text_line_has_one_word_for_each_field(tmp_path: Path, odd: str):
    path = tmp_path / "log"
    log = AccessLog(str(path), True)
    log.add(record(model=odd))
    log.flush()
    line, rest = path.read_text().split("\n")
    assert not rest
    fields = dict(zip(RequestRecord.__struct_fields__, line.split(" "), strict=True))
    assert msgspec.json.decode(fields["model"]) == odd
    assert (fields["key"], fields["status"], fields["duration"], fields["prompt_tokens"]) == (
        "-",
        "200",
        "1.500000",
        "-",
    )


@pytest.mark.parametrize("text", [False, True])
def test_a_line_has_no_control_characters_of_a_terminal(tmp_path: Path, text: bool):
    odd = "a\x9b31m\x7f\x1b[0m\u202e\n é"
    log = AccessLog(str(tmp_path / "log"), text)
    log.add(record(path=odd, model=odd))
    log.flush()
    [line] = (tmp_path / "log").read_text().splitlines()
    assert not any(map(is_unsafe, line))
    model = line.split(" ")[6] if text else json.dumps(json.loads(line)["model"])
    assert json.loads(model) == odd
