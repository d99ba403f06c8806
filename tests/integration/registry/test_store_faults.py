"""Failures of the disk and of the store's file: the registry reports them and loses nothing that it acknowledged."""

import os
import signal
import subprocess
from contextlib import suppress

import pytest
import requests

from svc.base.errors import SvcError, Unavailable
from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration
from tests.waiting import wait_until


@pytest.fixture
def registry(tmp_path):
    """A registry with its store in disk/registry.db, not started yet; it ends with the test."""
    (tmp_path / "disk").mkdir()
    failing = FailingRegistry(tmp_path, "--store", "sqlite:disk/registry.db")
    yield failing
    if failing.process:
        failing.end()


class FailingRegistry(Registry):
    """A registry that counts as started when it answers, even with an error."""

    process = None

    def answers(self):
        try:
            return self.health()
        except requests.RequestException:
            assert self.process.poll() is None, self.log.read_text()
            return None

    def health(self):
        answer = requests.get(f"{self.client.urls[0]}/health", timeout=5)
        return {"code": answer.status_code, **answer.json()}

    def becomes(self, status):
        return wait_until(
            lambda: (health := self.health())["status"] == status and health, 20, f"{status}: {self.health()}"
        )

    def names(self):
        return {s["name"] for s in self.client.services()}

    def register_until_it_fails(self):
        """Register services until that fails; return the names that were acknowledged."""
        acknowledged = set()
        for n in range(10_000):
            try:
                self.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
            except Unavailable:
                return acknowledged
            acknowledged.add(f"s{n}")
        raise AssertionError("it never fails")


@pytest.fixture
def disk(registry):
    """A disk of 2 MB for the store."""
    place = registry.place / "disk"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    yield place
    if registry.process:
        registry.end()
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk):
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_disk_that_becomes_full_and_is_freed_again(registry, disk):
    registry.start()
    first = {f"first{n}" for n in range(20)}
    for name in first:
        registry.client.register(registration(name, metadata={"fill": "x" * 8000}))
    ballast = fill(disk)
    acknowledged = registry.register_until_it_fails() | first
    health = registry.becomes("failing")
    assert (health["code"], health["registered_services"]) == (503, len(acknowledged))
    assert "disk/registry.db: the registry cannot use its store: its disk is full; make room" in health["reason"]
    assert registry.names() == acknowledged, "reads still work"
    registry.end(signal.SIGKILL)
    registry.start()
    assert registry.names() == acknowledged
    ballast.unlink()
    assert registry.becomes("healthy")["code"] == 200
    assert registry.names() == acknowledged
    registry.client.register(registration("after"))
    assert "Traceback" not in registry.log.read_text()


def test_a_disk_that_is_full_at_the_start(registry, disk):
    ballast = fill(disk)
    registry.start()
    assert "its disk is full" in registry.becomes("failing")["reason"]
    with pytest.raises(Unavailable):
        registry.client.register(registration())
    ballast.unlink()
    registry.becomes("healthy")
    registry.client.register(registration())
    assert registry.names() == {"qwen"}


@pytest.mark.parametrize("end", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_a_read_only_disk_until_it_is_writable(registry, disk, end):
    registry.start()
    registry.client.register(registration())
    registry.end(end)
    wait_until(lambda: not subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode)
    registry.start()
    health = registry.becomes("failing")
    assert (health["code"], "it is read-only; make it" in health["reason"]) == (503, True)
    with pytest.raises(Unavailable):
        registry.client.heartbeat("qwen", "running")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    registry.becomes("healthy")
    assert registry.names() == {"qwen"}
    registry.client.heartbeat("qwen", "running")
    assert "Traceback" not in registry.log.read_text()


def overwrite(path, offset, size):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(size))


@pytest.mark.parametrize("damage", [lambda p: overwrite(p, 0, 100), lambda p: overwrite(p, 4096, 40_000)])
def test_a_corrupt_file_is_set_aside_and_the_registry_starts(registry, damage):
    registry.start()
    for n in range(20):
        registry.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    registry.end(signal.SIGTERM)
    file = registry.place / "disk" / "registry.db"
    damage(file)
    damaged = file.read_bytes()
    registry.start()
    health = registry.becomes("degraded")
    (aside,) = file.parent.glob("registry.db.corrupt-*")
    assert aside.read_bytes() == damaged, "the damaged file is kept as it was"
    assert health["code"] == 200
    assert f"disk/registry.db was corrupt and is set aside as {aside.name}" in health["reason"]
    with pytest.raises(SvcError):
        registry.client.heartbeat("s0", "running")
    registry.client.register(registration("s0"))
    registry.end(signal.SIGKILL)
    registry.start()
    assert (registry.names(), registry.health()["status"]) == ({"s0"}, "degraded")
    aside.unlink()
    assert registry.health()["status"] == "healthy"


def test_drain_marks_are_kept_if_they_can_still_be_read(registry):
    registry.start()
    for n in range(20):
        registry.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    registry.client.drain("s3")
    registry.end(signal.SIGTERM)
    file = registry.place / "disk" / "registry.db"
    overwrite(file, file.stat().st_size - 40_000, 40_000)
    registry.start()
    registry.becomes("degraded")
    assert registry.client.register(registration("s3"))["drained"]


def test_a_file_that_becomes_corrupt_while_the_registry_runs(registry):
    registry.start()
    for n in range(200):
        registry.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    registry.client.drain("s7")
    before = registry.client.list_services()
    for file in (registry.place / "disk").iterdir():
        overwrite(file, 0, file.stat().st_size)
    wait_until(lambda: heartbeat_is_accepted(registry, "s0") and registry.health()["status"] == "degraded", 20)
    after = registry.client.list_services()
    assert [s["name"] for s in after.services] == [s["name"] for s in before.services], (
        "the registry still has all services"
    )
    assert after.index == before.index
    registry.end(signal.SIGKILL)
    registry.start()
    assert (len(registry.names()), registry.client.get("s7")["drained"]) == (200, True)
    assert "Traceback" not in registry.log.read_text()


def test_a_file_that_is_deleted_while_the_registry_runs(registry):
    registry.start()
    for n in range(5):
        registry.client.register(registration(f"s{n}"))
    registry.client.drain("s3")
    index = registry.client.list_services().index
    for file in (registry.place / "disk").iterdir():
        file.unlink()
    registry.client.register(registration("after"))
    registry.end(signal.SIGKILL)
    registry.start()
    assert registry.names() == {"s0", "s1", "s2", "s3", "s4", "after"}
    assert registry.client.get("s3")["drained"]
    assert registry.client.list_services().index > index


def heartbeat_is_accepted(registry, name):
    with suppress(Unavailable):
        registry.client.heartbeat(name, "running")
        return True


@pytest.mark.long
def test_a_suspended_registry_ends_no_lease_for_that_time(registry):
    registry.start()
    registry.client.register(registration("a", lease_seconds=6))
    os.kill(registry.worker(), signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):  # 5 s until the client gives up, twice
            registry.client.heartbeat("a", "running")
        with pytest.raises(Unavailable):
            registry.client.heartbeat("a", "running")
    finally:
        os.kill(registry.worker(), signal.SIGCONT)
    wait_until(lambda: registry.client.get("a"))
    assert registry.client.get("a")["is_healthy"]
    wait_until(lambda: not registry.client.get("a")["is_healthy"], 15)
