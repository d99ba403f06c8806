"""The file of the ledger, with a real SQLite file in a temporary directory."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.base.local_time import day_around
from svc.protocol.usage import DIMENSIONS, UsageRow
from svc.router.usage.usage_file import MIGRATIONS, UsageFile, read_rows
from svc.router.usage.usage_sums import UsageEntry

NOON = day_around(1_800_000_000)[0] + 12 * 3600
HOUR = 3600
ALL = (0, 2**40)


def entry(time: int = NOON, key: str = "ci", user: str = "", model: str = "m", **counts: float) -> UsageEntry:
    return UsageEntry(time, key, user, model, **{"requests": 1, "prompt": 10, "completion": 5, **counts})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "usage.db"


def test_rows_of_one_place_are_added(path: Path):
    file = UsageFile(path)
    file.add([entry(cached=4, stream_seconds=0.5), entry(user="alice")])
    file.add([entry(failed=1, estimated=2, queue_seconds=1.5)])
    row, alice = read_rows(path, ("key", "user", "model"), *ALL)
    assert (row.requests, row.failed, row.prompt, row.cached, row.completion, row.estimated) == (2, 1, 20, 4, 10, 2)
    assert (row.stream_seconds, row.queue_seconds, row.key, row.user, row.model) == (0.5, 1.5, "ci", "", "m")
    assert (alice.user, alice.requests) == ("alice", 1)


def test_names_with_any_characters_are_kept(path: Path):
    names = ["", "a'b\"c", "\u4f60\u597d", "\\", "%_"]
    UsageFile(path).add([entry(user=name) for name in names])
    assert {row.user for row in read_rows(path, ("user",), *ALL)} == set(names)


def test_rows_are_summed_by_any_dimensions(path: Path):
    UsageFile(path).add([entry(NOON), entry(NOON + HOUR), entry(NOON + 24 * HOUR, model="n")])
    assert [row.requests for row in read_rows(path, (), *ALL)] == [3]
    assert sorted(row.requests for row in read_rows(path, ("day",), *ALL)) == [1, 2]
    assert len(read_rows(path, DIMENSIONS, *ALL)) == 3
    assert [row.model for row in read_rows(path, ("model",), NOON + 2 * HOUR, 2**40)] == ["n"]
    assert read_rows(path, (), 0, NOON) == []


def test_a_file_that_is_missing_or_just_created_has_no_rows(path: Path):
    assert read_rows(path, ("key",), *ALL) == []
    path.parent.mkdir()
    path.touch()
    assert read_rows(path, ("key",), *ALL) == []


def test_old_hours_become_days_and_keep_their_sums(path: Path):
    file = UsageFile(path)
    start, end = day_around(NOON)
    file.add([entry(time, user=user) for time in range(start, end + 3 * HOUR, HOUR) for user in "ab"])
    before = read_rows(path, ("day", "user"), *ALL)
    file.condense(end + HOUR)
    assert sorted(map(str, read_rows(path, ("day", "user"), *ALL))) == sorted(map(str, before))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*), min(time) FROM hours").fetchone() == (6, end)
        assert db.execute("SELECT time, count(*) FROM days GROUP BY time").fetchall() == [(start, 2)]
    file.add([entry(start)])  # of another router, whose clock is wrong
    file.condense(end + HOUR)
    assert sum(row.requests for row in read_rows(path, (), *ALL)) == sum(row.requests for row in before) + 1


def test_two_routers_may_write_one_file(path: Path):
    first, second = UsageFile(path), UsageFile(path)
    for _ in range(3):
        first.add([entry()])
        second.add([entry()])
    assert read_rows(path, (), *ALL)[0].requests == 6


def test_a_file_that_was_removed_is_created_anew(path: Path):
    file = UsageFile(path)
    file.add([entry()])
    path.unlink()
    file.add([entry(), entry(user="b")])
    assert read_rows(path, (), *ALL)[0].requests == 2


@pytest.mark.parametrize("content", [b"x" * 9000, b"SQLite format 3\0" + b"x" * 9000])
def test_a_corrupt_file_is_set_aside_and_counting_goes_on(path: Path, content: bytes, caplog: pytest.LogCaptureFixture):
    path.parent.mkdir()
    path.write_bytes(content)
    UsageFile(path).add([entry()])
    assert read_rows(path, (), *ALL)[0].requests == 1
    assert [file.read_bytes() for file in path.parent.glob("usage.db.corrupt-*")] == [content]
    assert "set aside as usage.db.corrupt-" in caplog.text


def test_damage_that_only_condensing_meets_is_set_aside_too(path: Path):
    file, old = UsageFile(path), NOON - 3 * 86400
    file.add([entry(old, user=f"{number:0100}") for number in range(500)])
    file.close()
    content = bytearray(path.read_bytes())
    for page in range(4, 20):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        file.condense(NOON)
    file.add([entry()])
    file.condense(NOON)
    assert read_rows(path, (), *ALL)[0].requests == 1


def test_a_file_of_another_kind_is_not_touched(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes " * 100)
    with pytest.raises(ConfigError, match=r"notes\.txt: cannot keep the usage here: .*; move it away"):
        UsageFile(path).add([entry()])
    assert path.read_bytes() == b"my notes " * 100


def test_a_file_of_a_newer_version_is_not_touched(path: Path):
    UsageFile(path).add([entry()])
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    file = UsageFile(path)
    with pytest.raises(sqlite3.NotSupportedError) as caught:
        file.add([entry()])
    assert "it is of version 2, this program knows 1" in file.reason(caught.value)


def test_the_file_is_private(path: Path):
    umask = os.umask(0)
    try:
        UsageFile(path).add([entry()])
    finally:
        os.umask(umask)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o640}


def test_a_row_has_the_fields_of_a_report():
    assert set(UsageRow.__struct_fields__) >= set(UsageEntry.__struct_fields__) - {"time"}
