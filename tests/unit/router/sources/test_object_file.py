"""The file with the map of stored objects: a restarted router knows what the last one knew."""

import logging
import threading
from pathlib import Path

import pytest

from svc.router.balance.object_owners import WAYS, ObjectOwners
from svc.router.sources.object_file import FORMAT, ObjectFile
from tests.unit.router.examples import target

TARGETS = (target("a", "m"), target("b", "m"))


def owners(*object_ids: str, size: int = 2 * WAYS) -> ObjectOwners:
    made = ObjectOwners(threading.Lock(), size)
    for object_id in object_ids:
        made.add(object_id, "b")
    return made


def test_a_restarted_router_has_the_objects(tmp_path: Path):
    ObjectFile(tmp_path / "var" / "table.json", owners("resp_1", "resp_2")).save()
    loaded = owners()
    ObjectFile(tmp_path / "var" / "table.json", loaded).load()
    assert len(loaded) == 2
    assert loaded.find("resp_1", TARGETS) is TARGETS[1]
    assert not list((tmp_path / "var").iterdir())  # outdated from now on


def test_the_order_of_use_is_kept(tmp_path: Path):
    full = owners(*map(str, range(WAYS)), size=WAYS)
    full.find("0", TARGETS)
    ObjectFile(tmp_path / "table.json", full).save()
    loaded = owners(size=WAYS)
    ObjectFile(tmp_path / "table.json", loaded).load()
    loaded.add("new", "a")
    assert loaded.find("0", TARGETS) is not None
    assert loaded.find("1", TARGETS) is None


def test_after_a_hup_the_memory_counts_and_not_the_file(tmp_path: Path):
    ObjectFile(tmp_path / "table.json", owners("resp_1")).save()
    present = owners("resp_2")
    ObjectFile(tmp_path / "table.json", present).load()
    assert present.find("resp_1", TARGETS) is None


@pytest.mark.parametrize("content", [b"other", FORMAT + b"x" * 15, b""])
def test_a_file_that_cannot_be_read_is_no_failure(content: bytes, tmp_path: Path):
    file = ObjectFile(tmp_path / "table.json", owners())
    file.path.write_bytes(content)
    file.load()


def test_a_directory_that_cannot_be_written_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "var").write_text("a file")
    with caplog.at_level(logging.WARNING):
        ObjectFile(tmp_path / "var" / "table.json", owners("resp_1")).save()
    assert "cannot save the stored objects" in caplog.text


def test_a_router_without_objects_writes_no_file(tmp_path: Path):
    ObjectFile(tmp_path / "table.json", owners()).save()
    assert not list(tmp_path.iterdir())
