"""Disks and files that fail under the registry: what it says then, and that nothing acknowledged is lost."""

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
def run(tmp_path):
    """A registry on disk/registry.db, not started yet; it ends with the test."""
    (tmp_path / "disk").mkdir()
    registry = Failing(tmp_path, "--store", "sqlite:disk/registry.db")
    yield registry
    if registry.process:
        registry.end()


class Failing(Registry):
    """It has come up when it answers at all."""

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
            lambda: (told := self.health())["status"] == status and told, 20, f"{status}: {self.health()}"
        )

    def names(self):
        return {s["name"] for s in self.client.services()}

    def register_until_it_fails(self):
        """The names that were acknowledged."""
        acknowledged = set()
        for n in range(10_000):
            try:
                self.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
            except Unavailable:
                return acknowledged
            acknowledged.add(f"s{n}")
        raise AssertionError("it never fails")


@pytest.fixture
def disk(run):
    """A disk of its own, of 2 MB."""
    place = run.place / "disk"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    yield place
    if run.process:
        run.end()
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk):
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_disk_that_fills_up_and_is_freed_again(run, disk):
    run.start()
    first = {f"first{n}" for n in range(20)}
    for name in first:
        run.client.register(registration(name, metadata={"fill": "x" * 8000}))
    ballast = fill(disk)
    acknowledged = run.register_until_it_fails() | first
    health = run.becomes("failing")
    assert (health["code"], health["registered_services"]) == (503, len(acknowledged))
    assert "disk/registry.db: the registry cannot use its store: its disk is full; make room" in health["reason"]
    assert run.names() == acknowledged, "reads are answered"
    run.end(signal.SIGKILL)
    run.start()
    assert run.names() == acknowledged
    ballast.unlink()
    assert run.becomes("healthy")["code"] == 200
    assert run.names() == acknowledged
    run.client.register(registration("after"))
    assert "Traceback" not in run.log.read_text()


def test_a_disk_that_is_full_when_it_starts(run, disk):
    ballast = fill(disk)
    run.start()
    assert "its disk is full" in run.becomes("failing")["reason"]
    with pytest.raises(Unavailable):
        run.client.register(registration())
    ballast.unlink()
    run.becomes("healthy")
    run.client.register(registration())
    assert run.names() == {"qwen"}


@pytest.mark.parametrize("end", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_a_disk_that_is_read_only_until_it_is_not(run, disk, end):
    run.start()
    run.client.register(registration())
    run.end(end)
    wait_until(lambda: not subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode)
    run.start()
    health = run.becomes("failing")
    assert (health["code"], "it is read-only; make it" in health["reason"]) == (503, True)
    with pytest.raises(Unavailable):
        run.client.heartbeat("qwen", "running")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    run.becomes("healthy")
    assert run.names() == {"qwen"}
    run.client.heartbeat("qwen", "running")
    assert "Traceback" not in run.log.read_text()


def overwrite(path, offset, size):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(size))


@pytest.mark.parametrize("spoil", [lambda p: overwrite(p, 0, 100), lambda p: overwrite(p, 4096, 40_000)])
def test_a_corrupt_file_is_set_aside_and_the_site_comes_up(run, spoil):
    run.start()
    for n in range(20):
        run.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    run.end(signal.SIGTERM)
    file = run.place / "disk" / "registry.db"
    spoil(file)
    spoilt = file.read_bytes()
    run.start()
    health = run.becomes("degraded")
    (aside,) = file.parent.glob("registry.db.corrupt-*")
    assert aside.read_bytes() == spoilt, "nothing of it was overwritten"
    assert health["code"] == 200
    assert f"disk/registry.db was corrupt and is set aside as {aside.name}" in health["reason"]
    with pytest.raises(SvcError):
        run.client.heartbeat("s0", "running")
    run.client.register(registration("s0"))
    run.end(signal.SIGKILL)
    run.start()
    assert (run.names(), run.health()["status"]) == ({"s0"}, "degraded")
    aside.unlink()
    assert run.health()["status"] == "healthy"


def test_drained_by_hand_stays_drained_when_that_can_still_be_read(run):
    run.start()
    for n in range(20):
        run.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    run.client.drain("s3")
    run.end(signal.SIGTERM)
    file = run.place / "disk" / "registry.db"
    overwrite(file, file.stat().st_size - 40_000, 40_000)
    run.start()
    run.becomes("degraded")
    assert run.client.register(registration("s3"))["drained"]


def test_a_file_that_becomes_corrupt_under_a_running_registry(run):
    run.start()
    for n in range(200):
        run.client.register(registration(f"s{n}", metadata={"fill": "x" * 8000}))
    run.client.drain("s7")
    before = run.client.list_services()
    for file in (run.place / "disk").iterdir():
        overwrite(file, 0, file.stat().st_size)
    wait_until(lambda: beats(run, "s0") and run.health()["status"] == "degraded", 20)
    after = run.client.list_services()
    assert [s["name"] for s in after.services] == [s["name"] for s in before.services], "it knew them all"
    assert after.index == before.index
    run.end(signal.SIGKILL)
    run.start()
    assert (len(run.names()), run.client.get("s7")["drained"]) == (200, True)
    assert "Traceback" not in run.log.read_text()


def test_a_file_that_is_taken_away_under_a_running_registry(run):
    run.start()
    for n in range(5):
        run.client.register(registration(f"s{n}"))
    run.client.drain("s3")
    index = run.client.list_services().index
    for file in (run.place / "disk").iterdir():
        file.unlink()
    run.client.register(registration("after"))
    run.end(signal.SIGKILL)
    run.start()
    assert run.names() == {"s0", "s1", "s2", "s3", "s4", "after"}
    assert run.client.get("s3")["drained"]
    assert run.client.list_services().index > index


def beats(run, name):
    with suppress(Unavailable):
        run.client.heartbeat(name, "running")
        return True


@pytest.mark.long
def test_a_registry_that_did_not_run_for_a_while_ends_no_lease_for_it(run):
    run.start()
    run.client.register(registration("a", lease_seconds=6))
    os.kill(run.worker(), signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):  # 5 s until the client gives up, twice
            run.client.heartbeat("a", "running")
        with pytest.raises(Unavailable):
            run.client.heartbeat("a", "running")
    finally:
        os.kill(run.worker(), signal.SIGCONT)
    wait_until(lambda: run.client.get("a"))
    assert run.client.get("a")["is_healthy"]
    wait_until(lambda: not run.client.get("a")["is_healthy"], 15)
