"""Reading what one process wrote to a log that all processes of its program share, through rotations."""

from pathlib import Path

import pytest

from svc.supervision.log_position import LogPosition, end_of, read_output

MANY = 1 << 16


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(b"first\n")
    return path


def append(path, text):
    with path.open("ab") as file:
        file.write(text)


def rotate(path):
    path.rename(f"{path}.1")
    path.write_bytes(b"")


def test_only_what_came_after_a_position_is_read(log):
    begin = end_of(str(log))
    assert read_output(log, begin, None, MANY) == b""
    append(log, b"second\n")
    assert read_output(log, begin, None, MANY) == b"second\n"
    assert read_output(log, begin, None, 3) == b"nd\n"
    assert read_output(log, None, None, MANY) == b"first\nsecond\n"


def test_a_rotation_does_not_end_the_output(log):
    begin = end_of(str(log))
    append(log, b"second\n")
    rotate(log)
    append(log, b"third\n")
    assert read_output(log, begin, None, MANY) == b"second\nthird\n"
    assert read_output(log, begin, None, 8) == b"d\nthird\n"


def test_what_is_between_two_positions_is_the_earlier_process(log):
    begin = end_of(str(log))
    append(log, b"second\n")
    end = end_of(str(log))
    append(log, b"third\n")
    assert read_output(log, begin, end, MANY) == b"second\n"
    rotate(log)
    append(log, b"fourth\n")
    assert read_output(log, begin, end, MANY) == b"second\n"
    assert read_output(log, begin, LogPosition(1, 5), MANY) == b"", "the file of the end was rotated away"


def test_a_truncated_file_is_read_from_its_beginning(log):
    begin = end_of(str(log))
    log.write_bytes(b"new\n")
    assert read_output(log, begin, None, MANY) == b"new\n"


def test_a_log_that_was_missing_at_the_start_is_read_whole(tmp_path):
    path = tmp_path / "new.log"
    begin = end_of(str(path))
    path.write_bytes(b"first\n")
    (tmp_path / "new.log.1").write_bytes(b"older\n")
    assert read_output(path, begin, None, MANY) == b"first\n"


def test_supervisords_own_output_is_no_file_to_read():
    with pytest.raises(OSError, match="Illegal seek"):
        read_output(Path("/dev/stdout"), None, None, 100)
