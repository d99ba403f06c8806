"""Records, their lines and their counts."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from svc.base.printable import is_unsafe
from svc.router.telemetry.access_log import UNKNOWN, AccessLog, Histogram, RequestRecord, RequestRecorder


def record(**more: Any) -> RequestRecord:
    told: dict[str, Any] = {
        "id": "1",
        "client": "127.0.0.1",
        "key": "",
        "method": "POST",
        "path": "/v1/x",
        "model": "m",
        "instance": "a",
        "status": 200,
        "bytes": 2,
        "first_byte": 0.5,
        "duration": 1.5,
        "attempts": 1,
        "end": "done",
    }
    return RequestRecord(**(told | more))


@pytest.mark.parametrize(("value", "at"), [(0.0, 0), (1.0, 0), (1.1, 1), (2.0, 1), (2.1, 2)])
def test_a_bucket_holds_what_is_at_most_its_bound(value: float, at: int):
    told = Histogram((1.0, 2.0))
    told.observe(value)
    assert told.counts[at] == sum(told.counts) == 1
    assert told.sum == value


@pytest.mark.parametrize(
    ("tail", "used"),
    [
        (b'"usage":{"prompt_tokens":7,"completion_tokens":5}', (7, 5)),
        (b'"usage": {"input_tokens": 7, "output_tokens": 5}', (7, 5)),
        (b'"usage" : {"input_tokens" : 7}', (7, None)),
        (b'{"usage":{"input_tokens":7,"output_tokens":1}} ... {"usage":{"output_tokens":5}}', (7, 5)),
        (b'"text": "\\"prompt_tokens\\": 9"', (None, None)),
        (b'"usage":{"prompt_tokens":null}', (None, None)),
        (b'"usage":{"cache_read_input_tokens":9}', (None, None)),
        (b"", (None, None)),
    ],
)
def test_usage_as_the_dialects_write_it(tail: bytes, used: tuple[int | None, int | None]):
    recorder, told = RequestRecorder(""), record()
    recorder.ended(told, None, tail, "m")
    assert (told.prompt_tokens, told.completion_tokens) == used
    assert dict(recorder.meters["m"].tokens) == {
        kind: count for kind, count in zip(("prompt", "completion"), used, strict=True) if count
    }


def test_cached_tokens_are_counted_beside_the_prompts():
    recorder = RequestRecorder("")
    recorder.ended(record(), None, b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}', "m")
    assert recorder.meters["m"].tokens == {"prompt": 9, "cached": 4}


def test_a_streams_times_are_those_of_its_tokens():
    recorder = RequestRecorder("")
    recorder.ended(record(first_byte=0.25, duration=1.5), 0.5, b'{"completion_tokens": 11}', "m")
    meter = recorder.meters["m"]
    assert (meter.token.sum, meter.duration.sum) == (0.1, 1.5)
    recorder.ended(record(), 0.5, b'{"completion_tokens": 1}', "m")  # no token after the first
    recorder.ended(record(), None, b'{"completion_tokens": 11}', "m")  # not a token, or no stream
    assert (sum(meter.token.counts), sum(meter.duration.counts)) == (1, 3)


def test_keys_are_counted():
    recorder = RequestRecorder("")
    for n in range(100):
        recorder.ended(record(model=f"m{n}", status=503, key="ci"), None, b"", UNKNOWN)
    assert recorder.meters[UNKNOWN].statuses == {503: 100}
    assert recorder.keys == {"ci": 100}


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recorder = RequestRecorder("")
    recorder.ended(record(), None, b"", "m")
    recorder.flush()
    assert not list(tmp_path.iterdir())


def test_lines_gather_until_the_flush(tmp_path: Path):
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


def test_a_failure_is_told_once_until_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "no" / "log"
    log = AccessLog(str(path), False)

    def write() -> int:
        log.add(record())
        log.flush()
        return len(caplog.records)

    assert [write(), write()] == [1, 1]
    path.parent.mkdir()
    assert write() == 1
    assert len(path.read_text().splitlines()) == 1  # what could not be written is lost, not kept
    path.unlink()
    path.parent.rmdir()
    assert [write(), write()] == [2, 2]
    assert caplog.messages[0].endswith("cannot write the access log: No such file or directory; lines are lost")


@pytest.mark.parametrize("odd", ["a b", "a\nb", 'a"b', "é", "\x00", "tab\t", "\u2028"])
def test_a_text_line_is_one_word_a_field(tmp_path: Path, odd: str):
    path = tmp_path / "log"
    log = AccessLog(str(path), True)
    log.add(record(model=odd))
    log.flush()
    line, rest = path.read_text().split("\n")
    assert not rest
    words = dict(zip(RequestRecord.__struct_fields__, line.split(" "), strict=True))
    assert msgspec.json.decode(words["model"]) == odd
    assert (words["key"], words["status"], words["duration"], words["prompt_tokens"]) == ("-", "200", "1.500000", "-")


@pytest.mark.parametrize("text", [False, True])
def test_a_line_has_no_character_that_a_terminal_obeys(tmp_path: Path, text: bool):
    odd = "a\x9b31m\x7f\x1b[0m\u202e\n é"
    log = AccessLog(str(tmp_path / "log"), text)
    log.add(record(path=odd, model=odd))
    log.flush()
    [line] = (tmp_path / "log").read_text().splitlines()
    assert not any(map(is_unsafe, line))
    told = line.split(" ")[6] if text else json.dumps(json.loads(line)["model"])
    assert json.loads(told) == odd
