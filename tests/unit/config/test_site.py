"""The directories of a site and its TOML files."""

import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "models").mkdir(parents=True)
    for name in ("b.toml", "a.toml", "svc.toml", "models/m.toml", "notes.txt"):
        (tmp_path / "config" / name).touch()
    return Site(Path())


def test_tomls_are_those_of_config_without_the_settings(site):
    assert [p.name for p in site.tomls()] == ["a.toml", "b.toml"]


def test_given_files_win_over_those_of_the_variable(site):
    assert [p.name for p in site.tomls(("config/b.toml",), "a.toml")] == ["b.toml"]
    assert [p.name for p in site.tomls((), "b.toml  models/m.toml")] == ["b.toml", "m.toml"]


def test_a_relative_path_is_searched_here_and_then_in_config(site):
    Path("a.toml").touch()
    assert site.tomls(("a.toml", "b.toml")) == [Path("a.toml"), Path("config/b.toml")]


def test_a_missing_file_is_named(site):
    with pytest.raises(CommandError, match="c.toml: no such file"):
        site.tomls(("c.toml",))


def test_the_directories_are_made(site):
    site.make_dirs()
    assert site.logs.is_dir()
    assert [path.name for path in site.var.iterdir()] == [".gitignore"]


def test_a_missing_gitignore_is_written_and_another_one_is_kept(site):
    site.var.mkdir()
    site.logs.mkdir()
    (site.logs / ".gitignore").write_text("own")
    site.make_missing_dirs()
    assert (site.var / ".gitignore").read_text() == "*\n!.gitignore\n"
    assert (site.logs / ".gitignore").read_text() == "own"


def test_a_directory_that_cannot_be_made_is_named(site):
    site.logs.write_text("in the way")
    with pytest.raises(CommandError, match="logs: cannot write here"):
        site.make_dirs()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_named(site):
    site.var.mkdir(mode=0o500)
    with pytest.raises(CommandError, match="var: cannot write here"):
        site.make_dirs()


def test_a_socket_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(CommandError, match="100 bytes; move the site"):
        Site(tmp_path / ("d" * 100)).make_dirs()
