"""A file is replaced whole, or stays as it was."""

import os

import pytest

from svc.base import atomic_file


def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    descriptors = []
    atomic_file.write(path, b"new", 0o600, on_open=descriptors.append)
    assert (path.read_bytes(), os.listdir(tmp_path), path.stat().st_mode & 0o777) == (b"new", ["state"], 0o600)
    assert len(descriptors) == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        atomic_file.write(path, b"new", 0o600)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["state"])


def test_the_file_of_a_killed_writer_is_replaced(tmp_path):
    temporary = tmp_path / "new"
    temporary.write_bytes(b"half")
    atomic_file.stage(temporary, b"whole", 0o600)
    assert temporary.read_bytes() == b"whole"
