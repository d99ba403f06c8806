"""A log file as it is written, rotated and emptied: every line is read once, in its order."""

import os
import shutil

import pytest
from supervisor.loggers import LevelsByName, LogRecord, RotatingFileHandler

from svc.base.errors import CommandError
from svc.site.log_file import MAX_LINE_BYTES, LogFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.log"


def write(path, *lines):
    with path.open("ab") as file:
        file.write(b"".join(line.encode() + b"\n" for line in lines))


def move(path):
    """As supervisord and logrotate do it."""
    for number in range(8, 0, -1):
        if (older := path.with_name(f"a.log.{number}")).exists():
            older.rename(path.with_name(f"a.log.{number + 1}"))
    path.rename(path.with_name("a.log.1"))


def text(lines):
    return [line.decode() for line in lines]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, ["3"]), (2, ["2", "3"]), (9, ["1", "2", "3"])])
def test_the_last_lines(path, count, expected):
    write(path, "1", "2", "3")
    assert text(LogFile(path).read_last(count)) == expected


def test_the_last_lines_of_a_large_file(path):
    write(path, *(f"{n:080}" for n in range(30_000)))
    assert text(LogFile(path).read_last(2000)) == [f"{n:080}" for n in range(28_000, 30_000)]


def test_an_unfinished_line_waits_for_its_end(path):
    write(path, "1")
    with path.open("ab") as file:
        file.write(b"half")
    log = LogFile(path)
    assert (log.read_last(5), log.rest) == ([b"1"], b"half")
    assert log.read_new() == []
    write(path, " and half")
    assert log.read_new() == [b"half and half"]


def test_the_last_lines_include_those_of_rotated_files(path):
    for component in ("12", "34", "5"):
        if path.exists():
            move(path)
        write(path, *component)
    assert text(LogFile(path).read_last(4)) == ["2", "3", "4", "5"]
    path.unlink()  # moved, and the next one is not there yet
    assert text(LogFile(path).read_last(9)) == ["1", "2", "3", "4"]


def test_new_lines_are_read_through_several_rotations_at_once(path):
    write(path, "0")
    log = LogFile(path)
    log.read_last(1)
    lines = []
    for component in ("1", "23", "4"):
        write(path, *component, "begun")
        move(path)
        write(path, *component)
    lines += log.read_new()
    move(path)
    lines += log.read_new()  # none is there
    write(path, "5")
    lines += log.read_new()
    assert text(lines) == ["1", "begun", "1", "2", "3", "begun", "2", "3", "4", "begun", "4", "5"]


def test_a_line_that_a_rotation_splits_is_one_line(path):
    path.write_bytes(b"")
    log = LogFile(path)
    log.read_last(0)
    path.write_bytes(b"first ")
    move(path)
    write(path, "second")
    assert log.read_new() == [b"first second"]


def test_no_line_is_lost_in_supervisords_own_rotation(path):
    """As fast as it can, looked at now and then."""
    handler = RotatingFileHandler(str(path), "ab", 1000, 50)
    handler.setFormat("%(message)s")
    log, lines = LogFile(path), []
    for n in range(3000):
        handler.emit(LogRecord(LevelsByName.INFO, f"line {n}\n"))
        if n % 97 == 0:
            lines += log.read_new()
    handler.close()
    assert text([*lines, *log.read_new()]) == [f"line {n}" for n in range(3000)]


def test_a_missing_file_has_no_lines_until_it_exists(path):
    log = LogFile(path)
    assert (log.read_last(5), log.read_new()) == ([], [])
    write(path, "1")
    assert log.read_new() == [b"1"]


def test_a_truncated_file_is_read_from_its_beginning(path):
    write(path, "1", "2")
    log = LogFile(path)
    log.read_last(1)
    path.write_bytes(b"")
    log.read_new()
    write(path, "3")
    assert log.read_new() == [b"3"]


def test_a_very_long_line_is_returned_in_pieces(path):
    log = LogFile(path)
    path.write_bytes(b"x" * (MAX_LINE_BYTES + 1))
    assert log.read_new() == [b"x" * (MAX_LINE_BYTES + 1)]


def test_a_rotated_file_may_be_removed(path):
    write(path, "1")
    log = LogFile(path)
    log.read_last(1)
    write(path, "2")
    path.unlink()
    write(path, "3")
    assert log.read_new() == [b"2", b"3"]


def test_a_compressed_rotated_file_hides_no_later_file(path):
    write(path, "0")
    move(path)
    os.utime(path.with_name("a.log.1"), (1, 1))
    write(path, "1")
    log = LogFile(path)
    log.read_last(1)
    write(path, "2")
    for component in "34":
        move(path)
        write(path, component)
    path.with_name("a.log.2").rename(path.with_name("a.log.2.gz"))
    path.with_name("a.log.3").rename(path.with_name("a.log.2"))  # nothing is older than what is older
    assert log.read_new() == [b"2", b"3", b"4"]


def test_an_unreadable_file_is_an_error(path):
    path.mkdir()
    with pytest.raises(CommandError, match=r"a\.log: cannot read it: Is a directory"):
        LogFile(path).read_last(1)
    shutil.rmtree(path)
