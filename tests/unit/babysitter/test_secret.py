"""The secret's file: made once, for its owner alone, and whole."""

import os
import stat
from pathlib import Path

import pytest

from svc.babysitter.secret import keep, state_dir


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "var" / "qwen.secret"
    made = keep(path)
    assert len(made) >= 32
    assert keep(path) == made == path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["qwen.secret"]
    assert keep(tmp_path / "var" / "other.secret") != made


@pytest.mark.parametrize("spoilt", ["", "short", "two words and a blank", "ü" * 40, "x" * 300])
def test_a_file_that_holds_no_secret_is_made_anew(tmp_path, spoilt):
    path = tmp_path / "qwen.secret"
    path.write_text(spoilt)
    made = keep(path)
    assert made != spoilt
    assert keep(path) == made


def test_where_it_cannot_be_kept_there_is_one_for_this_life_and_a_line_that_does_not_show_it(tmp_path, caplog):
    (tmp_path / "var").touch()
    made = keep(tmp_path / "var" / "qwen.secret")
    assert len(made) >= 32
    (line,) = [r.getMessage() for r in caplog.records]
    assert "var/qwen.secret: cannot keep the secret" in line
    assert made not in line


def test_a_write_that_fails_leaves_no_half_of_it(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert keep(tmp_path / "qwen.secret")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("server_url", "place"),
    [
        ("unix:///srv/site/var/supervisor.sock", "/srv/site/var"),
        ("unix:///tmp/svc-x/var/supervisor.sock", "/tmp/svc-x/var"),
        ("unix:///run/supervisor.sock", "var"),
        ("http://127.0.0.1:9001", "var"),
        ("", "var"),
    ],
)
def test_it_lies_with_the_state_of_the_supervisord_that_runs_us(server_url, place):
    assert state_dir(server_url) == Path(place)
