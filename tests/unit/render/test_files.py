"""Generated files are validated before they are written, and written all together or not at all."""

import os

import pytest

from svc.base.errors import CommandError, ConfigError
from svc.render import files
from svc.render.paths import RenderPaths

OURS = files.MADE_BY + "x.toml\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "gone.conf").write_text(OURS)
    (tmp_path / "old.conf").write_text(OURS + "1\n")
    (tmp_path / "same.conf").write_text(OURS)
    (tmp_path / "foreign.conf").write_text("[program:x]\n")
    return tmp_path


@pytest.fixture
def change(root):
    wanted = {root / "new.conf": OURS + "ü\n", root / "old.conf": OURS + "2\n", root / "same.conf": OURS}
    return files.difference(wanted, [root / "gone.conf"])


def snapshot(root):
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_generated_files_are_known_by_their_first_line(root):
    (root / "later.conf").write_text("\n" + OURS)
    assert [path.name for path in files.generated_files(root)] == ["gone.conf", "old.conf", "same.conf"]
    assert set(files.generated_files(root).values()) == {"x.toml"}


def test_a_change_lists_added_changed_and_removed_files(root, change):
    assert change.stale
    assert (change.added, change.changed, change.removed) == (
        [root / "new.conf"],
        [root / "old.conf"],
        [root / "gone.conf"],
    )
    diff = change.diff()
    assert f"--- {root}/old.conf\n+++ {root}/old.conf\n" in diff
    assert "-1\n+2\n" in diff
    assert f"--- /dev/null\n+++ {root}/new.conf\n" in diff
    assert f"--- {root}/gone.conf\n+++ /dev/null\n" in diff
    assert "same" not in diff


def test_writing_leaves_no_temporary_file(root, change):
    change.write()
    assert snapshot(root) == {
        "new.conf": (OURS + "ü\n").encode(),
        "old.conf": (OURS + "2\n").encode(),
        "same.conf": OURS.encode(),
        "foreign.conf": b"[program:x]\n",
    }
    assert not files.difference({root / "same.conf": OURS}, []).stale


def test_missing_directories_are_made(tmp_path):
    files.difference({tmp_path / "a" / "b" / "x.conf": OURS}, []).write()
    assert (tmp_path / "a" / "b" / "x.conf").read_text() == OURS


@pytest.mark.parametrize(
    ("function", "call"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("replace", 2), ("unlink", 1)]
)
def test_a_failure_anywhere_changes_nothing(root, change, monkeypatch, function, call):
    """Two files are written (fsync, replace), then one is removed (unlink)."""
    before = snapshot(root)
    calls = []
    owner = files.Path if function == "unlink" else os
    real = getattr(owner, function)

    def failing(*args, **kwargs):
        if function != "unlink" or args[0].name == "gone.conf":
            calls.append(args)
            if len(calls) == call:
                raise OSError(28, "No space left on device", str(root / "x.conf"))
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, function, failing)
    with pytest.raises(CommandError, match="No space left on device; nothing was changed"):
        change.write()
    monkeypatch.undo()
    assert snapshot(root) == before


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "conf.d").write_text("in the way")
    with pytest.raises(CommandError, match="conf.d: cannot write: .*nothing was changed"):
        files.difference({tmp_path / "conf.d" / "x.conf": OURS}, []).write()


def test_a_file_that_svc_did_not_generate_is_left_alone(root):
    with pytest.raises(ConfigError, match="foreign.conf: not made by svc render, so it is left alone; move it away"):
        files.difference({root / "foreign.conf": OURS}, [])


def texts(program):
    conf = "[supervisord]\nlogfile=%(here)s/logs/s.log\npidfile=%(here)s/var/s.pid\n[include]\nfiles=conf.d/*.conf\n"
    return {"supervisord.conf": conf, "conf.d/a.conf": f"[program:a]\n{program}\n"}


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("directory=/", "does not specify a command in section 'program:a' (file: 'conf.d/a.conf')"),
        ("command=x\nstartsecs=0.5", "0.5"),
        ("command=x %d", "badly formatted"),
        ("command=x\nstdout_logfile=%(here)s/nowhere/x.log", "does not exist"),
        ("command=x\nenvironment=A", "Unexpected end of key/value pairs"),
    ],
)
def test_text_that_supervisord_refuses_fails_validation(tmp_path, program, complaint):
    with pytest.raises(ConfigError) as caught:
        files.validate(texts(program), RenderPaths.of(tmp_path))
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message


def test_text_that_supervisord_accepts_passes_validation(tmp_path):
    files.validate(texts("command=x\nstdout_logfile=%(here)s/../logs/x.log"), RenderPaths.of(tmp_path))
    assert list(tmp_path.iterdir()) == []
