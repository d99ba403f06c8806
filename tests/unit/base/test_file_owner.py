"""Owners of the files that root creates in the directory of another user, who may have planted links there."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from svc.base import file_owner, private_files
from svc.base.errors import CommandError
from svc.config import router_keys
from svc.config.site import Site
from svc.registry.store.sqlite import SqliteStore
from svc.render import files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")

USER, GROUP = 4321, 8765


@pytest.fixture
def users_directory(tmp_path) -> Path:
    """Return a directory of another user."""
    directory = tmp_path / "site"
    directory.mkdir()
    os.chown(directory, USER, GROUP)
    return directory


@pytest.fixture
def roots_file(tmp_path) -> Path:
    """Return a file of root in a directory of root."""
    path = tmp_path / "shadow"
    path.write_bytes(b"")
    path.chmod(0o644)
    return path


def owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


def identity(path: Path) -> tuple[int, str]:
    status = path.stat()
    return status.st_uid, oct(stat.S_IMODE(status.st_mode))


def edit_keys(path: Path) -> None:
    with router_keys.editing(path.with_name("keys.toml")):
        pass


WRITERS = {
    "registry.db": lambda path: SqliteStore(path).close(),
    "any.log": lambda path: private_files.append(path).close(),
    ".keys.toml.lock": edit_keys,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_to_a_file_of_root_gives_nothing_away(name, users_directory, roots_file):
    (users_directory / name).symlink_to(roots_file)
    with suppress(CommandError):  # refusing the link is right, too
        WRITERS[name](users_directory / name)
    assert identity(roots_file) == (0, "0o644")


@pytest.mark.parametrize("name", WRITERS)
def test_a_new_file_belongs_to_the_owner_of_its_directory(name, users_directory):
    WRITERS[name](users_directory / name)
    assert owner(users_directory / name) == (USER, GROUP)


def test_an_existing_file_of_root_stays_roots(users_directory):
    path = users_directory / "any.log"
    path.write_bytes(b"")
    private_files.append(path).close()
    assert path.stat().st_uid == 0


def test_a_planted_link_makes_root_create_nothing_elsewhere(users_directory, tmp_path):
    (users_directory / "var").mkdir()
    (users_directory / "var" / ".writable").symlink_to(tmp_path / "nologin")
    Site(users_directory).make_dirs()
    assert not (tmp_path / "nologin").exists()


def test_a_directory_of_root_that_takes_the_place_of_a_new_one_stays_roots(users_directory, monkeypatch):
    private, new = users_directory / "roots", users_directory / "var"
    private.mkdir()
    (private / "secret").write_bytes(b"")
    mkdir = os.mkdir

    def replace_it(*args, **options):
        mkdir(*args, **options)
        new.rmdir()
        private.rename(new)

    monkeypatch.setattr(os, "mkdir", replace_it)
    file_owner.make_directories(new)
    assert new.stat().st_uid == 0


def test_a_failed_render_restores_files_and_follows_no_link(users_directory, tmp_path, monkeypatch):
    first, second = users_directory / "a.conf", users_directory / "b.conf"
    for path in (first, second):
        path.write_text(f"{files.MADE_BY}x.toml\n")
        os.chown(path, USER, USER)
    change = files.difference(dict.fromkeys((first, second), f"{files.MADE_BY}y.toml\n"), [])
    victim = tmp_path / "cron"
    replace = os.replace

    def fail_second(source, target):
        if target == second:
            first.unlink()
            first.symlink_to(victim)
            raise IsADirectoryError(21, "Is a directory", str(second))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(CommandError, match="nothing was changed"):
        change.write()
    assert not victim.exists()
    assert [path.read_text() for path in (first, second)] == [f"{files.MADE_BY}x.toml\n"] * 2
    assert first.stat().st_uid == USER


def test_a_new_version_keeps_the_owner_of_the_current_one(users_directory):
    current, new = users_directory / "current", users_directory / "new"
    current.touch()
    os.chown(current, USER + 1, GROUP + 1)
    with new.open("wb") as file:
        file_owner.keep(file.fileno(), current)
    assert owner(new) == (USER + 1, GROUP + 1)


def test_the_first_version_gets_the_owner_of_its_directory(users_directory):
    new = users_directory / "new"
    with new.open("wb") as file:
        file_owner.keep(file.fileno(), users_directory / "current")
    assert owner(new) == (USER, GROUP)


def test_missing_directories_get_the_owner_of_their_parent(users_directory):
    file_owner.make_directories(users_directory / "a" / "b")
    assert owner(users_directory / "a") == owner(users_directory / "a" / "b") == (USER, GROUP)
