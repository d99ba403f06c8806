"""Modes of files that hold secrets, state and logs."""

import os
import stat
from pathlib import Path

import pytest

from svc.babysitter import registrar
from svc.base import private_files, sqlite_file
from svc.config import router_keys
from svc.config.site import Site
from svc.registry.store.sqlite import SqliteStore
from svc.render import files
from svc.rollout.journal import Journal
from svc.router.sources.table_cache import TableFile
from svc.router.telemetry.access_log import AccessLog
from svc.site import rollout_lock
from tests.unit.router.examples import TABLE
from tests.unit.router.telemetry.records import record

CONF = files.MADE_BY + "x.toml\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def write_everything(root: Path) -> None:
    """Write all files of a site that hold secrets, state or access logs."""
    site = Site(root)
    site.make_missing_dirs()
    private_files.write(site.var / "plain", b"x")
    store = SqliteStore(site.var / "registry.db")
    store.drain("nobody", drained=True)
    TableFile(site.var / "router_table.json").store(TABLE)
    Journal(site.var / "rollout.json", drained={"a"}).write()
    with rollout_lock.exclusive(site, ["apply"]):
        pass
    registrar.load_or_create_secret(site.var / "qwen.secret")
    with router_keys.editing(site.var / "keys.toml"):
        pass
    log = AccessLog(str(site.logs / "access.log"), text=False)
    log.add(record())
    log.flush()
    path = root / "conf.d" / "qwen.conf"
    files.difference({path: CONF}, [], [path]).write()
    names = sorted(path.name for path in root.rglob("*") if path.is_file() and path.name != ".gitignore")
    assert names == [
        ".keys.toml.lock",
        "access.log",
        "keys.toml",
        "plain",
        "qwen.conf",
        "qwen.secret",
        "registry.db",
        "registry.db-shm",
        "registry.db-wal",
        "rollout.json",
        "rollout.lock",
        "router_table.json",
    ]
    loose = {path.name: oct(mode(path)) for path in root.rglob("*") if path.is_file() and mode(path) & 0o137}
    assert loose.keys() <= {".gitignore"}
    store.close()


def test_files_of_a_site_are_closed_to_other_users_for_any_umask(tmp_path, umask):
    write_everything(tmp_path)
    assert not any(mode(tmp_path / name) & 0o027 for name in ("var", "logs"))


def test_files_of_an_older_version_get_tighter_modes(tmp_path):
    write_everything(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.chmod(0o666)
    write_everything(tmp_path)


def test_a_corrupt_database_that_is_set_aside_stays_private(tmp_path):
    path = tmp_path / "registry.db"
    path.write_bytes(sqlite_file.FILE_SIGNATURE + b"x" * 8000)
    path.chmod(0o644)
    SqliteStore(path).close()
    assert sorted(oct(mode(path)) for path in tmp_path.iterdir()) == ["0o640", "0o640"]


def test_a_stricter_mode_is_kept_and_public_files_stay_public(tmp_path):
    path, plain = tmp_path / "qwen.conf", tmp_path / "router.conf"
    path.write_text(CONF)
    path.chmod(0o600)
    before = os.umask(0o022)
    files.difference({path: CONF + "new", plain: CONF}, [], [path]).write()
    os.umask(before)
    assert (mode(path), mode(plain)) == (0o600, 0o644)


def test_a_failed_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        private_files.write(path, b"new")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["state"])


def test_a_device_keeps_its_mode(tmp_path):
    private_files.tighten("/dev/null")
    private_files.tighten(tmp_path / "missing")
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == 0o666
