"""The owners of files that root writes in a site."""

import os

import pytest

from svc.base import file_owner

OWNER, GROUP = 4321, 8765
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change owners")


@pytest.fixture
def directory(tmp_path):
    os.chown(tmp_path, OWNER, GROUP)
    return tmp_path


def owner(path):
    status = path.stat()
    return status.st_uid, status.st_gid


def test_a_new_file_gets_the_owner_of_its_directory(directory):
    path = directory / "new"
    with path.open("wb") as file:
        file_owner.inherit(file.fileno(), directory)
    assert owner(path) == (OWNER, GROUP)


def test_a_file_of_another_user_or_with_a_second_name_is_left_alone(directory):
    others, linked = directory / "others", directory / "linked"
    others.touch()
    os.chown(others, 1, 1)
    linked.touch()
    os.link(linked, directory / "second")
    for path in (others, linked):
        with path.open("ab") as file:
            file_owner.inherit(file.fileno(), directory)
    assert (owner(others), owner(linked)) == ((1, 1), (0, 0))


def test_a_new_version_keeps_the_owner_of_the_current_one(directory):
    current, new = directory / "current", directory / "new"
    current.touch()
    os.chown(current, OWNER + 1, GROUP + 1)
    with new.open("wb") as file:
        file_owner.keep(file.fileno(), current)
    assert owner(new) == (OWNER + 1, GROUP + 1)


def test_the_first_version_gets_the_owner_of_its_directory(directory):
    new = directory / "new"
    with new.open("wb") as file:
        file_owner.keep(file.fileno(), directory / "current")
    assert owner(new) == (OWNER, GROUP)


def test_missing_directories_get_the_owner_of_their_parent(directory):
    file_owner.make_directories(directory / "a" / "b")
    assert owner(directory / "a") == owner(directory / "a" / "b") == (OWNER, GROUP)
