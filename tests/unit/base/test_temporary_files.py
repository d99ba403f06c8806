"""Where temporary files go when the usual directories are not writable."""

import os
import subprocess
import tempfile

import pytest

from svc.base import temporary_files
from svc.base.errors import CommandError


@pytest.fixture
def read_only(monkeypatch):
    """A machine on which Python finds no directory for temporary files."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/no-such-directory"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/proc/no-such-directory")


def test_a_usable_directory_stays(tmp_path, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    before = tempfile.gettempdir()
    temporary_files.ensure_directory(tmp_path)
    assert tempfile.gettempdir() == before
    assert "TMPDIR" not in os.environ


def test_otherwise_this_process_and_its_children_use_the_fallback(tmp_path, read_only):
    temporary_files.ensure_directory(tmp_path)
    with tempfile.NamedTemporaryFile() as file:
        assert os.path.dirname(file.name) == str(tmp_path)
    assert subprocess.check_output(["printenv", "TMPDIR"], text=True).strip() == str(tmp_path)


def test_without_any_the_error_names_the_cure(tmp_path, read_only):
    with pytest.raises(
        CommandError, match=r"^no directory for .* neither /tmp nor .*/missing; set TMPDIR to one that is$"
    ):
        temporary_files.ensure_directory(tmp_path / "missing")
