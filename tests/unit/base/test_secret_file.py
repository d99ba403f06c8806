"""A file with a secret that changes, becomes invalid, or is removed and restored."""

import os
import tempfile
from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.base.secret_file import SecretFile
from svc.protocol.engine_key import parse_key


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key"
    write(path, "first")
    return SecretFile(path, parse_key, "[backend] api_key_file", "")


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(file):
    assert file.load() == "first"
    assert not file.refresh()
    write(file.path, "second!")
    assert file.refresh()
    assert file.value == "second!"


@pytest.mark.parametrize("text", ["", "two words!"])
def test_an_invalid_file_keeps_the_last_key_and_is_logged_once(file, text, caplog):
    file.load()
    write(file.path, text)
    assert not file.refresh()
    os.utime(file.path, (1, 1))
    assert not file.refresh()
    assert file.value == "first"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "two words" not in caplog.text


def test_a_removed_file_keeps_the_last_key_until_it_is_restored(file, caplog):
    file.load()
    file.path.unlink()
    assert not file.refresh()
    assert not file.refresh()
    assert file.value == "first"
    assert "[backend] api_key_file names: No such file or directory; make the file" in caplog.text
    assert len(caplog.records) == 1
    write(file.path, "third")
    assert file.refresh()
    assert file.value == "third"


def test_a_world_readable_file_is_logged_as_a_warning(file, caplog):
    file.path.chmod(0o644)
    assert file.load() == "first"
    assert "readable by all users; chmod o=" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_file_that_only_the_rights_of_all_users_open_is_no_warning(caplog):
    with tempfile.NamedTemporaryFile(dir="/tmp") as token:
        token.write(b"first")
        token.flush()
        os.chmod(token.name, 0o644)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
            SecretFile(Path(token.name), parse_key, "token_file", "").load()
            os._exit("readable by all users" in caplog.text)
        assert os.waitpid(child, 0)[1] == 0


def test_loading_a_missing_file_raises(file):
    file.path.unlink()
    with pytest.raises(ConfigError, match="api_key_file names: No such file"):
        file.load()


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_without_keep_last_removing_the_file_revokes_the_secret(file, text):
    revocable = SecretFile(file.path, parse_key, "token_file", "", keep_last=False)
    assert revocable.load() == "first"
    file.path.unlink()
    if text is not None:
        write(file.path, text)
    assert not revocable.refresh()
    assert revocable.value == ""


def test_without_keep_last_a_mistake_in_the_file_revokes_nothing(file):
    revocable = SecretFile(file.path, parse_key, "token_file", "", keep_last=False)
    revocable.load()
    write(file.path, "two words!")
    assert not revocable.refresh()
    assert revocable.value == "first"
