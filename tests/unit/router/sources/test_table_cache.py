import logging
import os
from pathlib import Path

import pytest

from svc.router.balance.routing_table import Origin
from svc.router.sources.table_cache import CachedTable, TableCache, TableFile
from tests.unit.router.examples import TABLE, Clock, state, target

HERE = ["http://r"]


@pytest.fixture
def file(tmp_path: Path) -> TableFile:
    return TableFile(tmp_path / "var" / "table.json", Clock())


def test_a_table_is_read_back_with_its_age(file: TableFile):
    file.store(TABLE)
    file.touch(age=0)
    file._clock.now += 5  # noqa: SLF001 - the test's own
    assert file.load(HERE) == CachedTable("http://r", 7, TABLE.targets, age=5)
    assert os.listdir(file.path.parent) == ["table.json"]


def test_keys_of_instances_are_not_written(file: TableFile):
    file.store(CachedTable("http://r", 7, [target("a", "m", key="secret")]))
    assert b"secret" not in file.path.read_bytes()
    saved = file.load(HERE)
    assert saved is not None
    assert (saved.targets[0].key, saved.targets[0].authorization) == ("", None)


def test_a_missing_file_is_not_logged(file: TableFile, caplog: pytest.LogCaptureFixture):
    assert file.load(HERE) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"format":"svc router table 1","registry":"http://r","index":7,"targets":[{"na',
        b'{"format":"svc router table 1"}',
        b'{"format":"svc router table 9","registry":"http://r"}',
        b'{"format":"svc router table 1","registry":"http://other","index":7,"targets":[]}',
    ],
)
def test_an_unusable_table_is_one_warning_and_is_overwritten(file: TableFile, caplog, data: bytes):
    file.path.parent.mkdir()
    file.path.write_bytes(data)
    assert file.load(HERE) is None
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert str(file.path) in caplog.text
    file.store(TABLE)
    assert file.load(HERE)


@pytest.mark.parametrize("data", [b"[router]\nport = 1\n", b'{"services": []}', b"\0\xff"])
def test_a_file_that_is_no_table_is_never_overwritten(file: TableFile, caplog, data: bytes):
    file.path.parent.mkdir()
    file.path.write_bytes(data)
    os.utime(file.path, (1, 1))
    assert file.load(HERE) is None
    file.store(TABLE)
    file.touch(age=0)
    assert (file.path.read_bytes(), file.path.stat().st_mtime) == (data, 1)
    assert len(caplog.records) == 1


def test_a_failed_write_is_logged_once(file: TableFile, caplog: pytest.LogCaptureFixture):
    file.path.mkdir(parents=True)
    for _ in range(3):
        file.store(TABLE)
    assert [r.getMessage() for r in caplog.records] == [f"{file.path}: cannot save the table: Is a directory"]
    assert os.listdir(file.path.parent) == ["table.json"], "no half-written file is left"


class Disk:
    def __init__(self) -> None:
        self.did: list[object] = []

    def store(self, saved: CachedTable) -> None:
        self.did.append([t.name for t in saved.targets])

    def touch(self, age: float) -> None:
        self.did.append(age)


def test_only_a_changed_table_is_written():
    disk, clock = Disk(), Clock()
    router = state(target("a", "m"), target("s", "m", static=True), clock=clock)
    keeper = TableCache(router, disk)
    keeper.run_round()
    for origin in (Origin("static"), Origin("saved", 990.0, "http://r", 5)):
        router.origin = origin
        keeper.run_round()
    assert disk.did == [], "only a table that a registry has listed"
    router.origin = Origin("registry", 1000.0, "http://r", 5)
    clock.now = 1001.0
    keeper.run_round()
    keeper.run_round()
    assert disk.did == [["a"], 1.0]
    router.origin = Origin("registry", 1030.0, "http://r", 5)
    clock.now = 1030.0
    keeper.run_round()
    assert disk.did == [["a"], 1.0, 0.0], "confirmed, not changed"
    router.replace_targets([target("a", "m", "n")])
    router.origin = Origin("registry", 1031.0, "http://r", 6)
    keeper.run_round()
    assert disk.did[3:] == [["a"], -1.0]
