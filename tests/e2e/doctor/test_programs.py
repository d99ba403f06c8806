"""Programs that do not run, or were restarted, or do not listen, with the cures of `svc doctor`."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.doctor.diagnosis import (
    INTERVAL_SECONDS,
    Cures,
    doctor,
    everything,
    find,
    wait_for_start,
    wait_until_healthy,
)
from tests.e2e.sites import Site
from tests.waiting import wait_until

ONE = ("one:server",)


def fail(site: Site, text: str) -> Path:
    """Let the server of `one` end with this text, and again at each start until the file is gone; return the file."""
    ill = site.root / "ill"
    ill.write_text(f"{text}\n")
    os.kill(site.pid("one:server"), signal.SIGKILL)
    wait_until(lambda: site.supervisord.process("one:server").state == "BACKOFF", description="its end")
    site.run("supervisorctl", "restart", "one:server", status=None)
    wait_until(lambda: site.supervisord.process("one:server").state == "BACKOFF", description="its failure")
    return ill


@pytest.mark.cures("program.*: supervisorctl start *")
def test_a_program_that_was_stopped_by_hand(ailing: Site, cures: Cures) -> None:
    ailing.run("supervisorctl", "stop", "one:server")
    wait_until(lambda: ailing.chat().status_code == 503, description="the router to hear of it")
    [cause] = doctor(ailing)
    assert (cause["key"], "stopped by hand" in cause["what"]) == ("program.one:server", True)
    assert "503" in everything([cause])["model.m"]["what"]
    cures.apply(ailing, cause, restarts=ONE)
    wait_until_healthy(ailing)


@pytest.mark.cures("program.*: supervisorctl start *")
def test_not_registering_because_the_babysitter_was_stopped(ailing: Site, cures: Cures) -> None:
    ailing.run("supervisorctl", "stop", "one:babysitter")
    wait_until(lambda: ailing.chat().status_code == 503, description="the deregistration")
    [cause] = doctor(ailing)
    assert cause["key"] == "program.one:babysitter"
    assert "instance.one-server" in everything([cause])
    cures.apply(ailing, cause, restarts=("one:babysitter",))
    wait_until_healthy(ailing)


@pytest.mark.cures("program.*: svc up")
@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ('command = "no-such-engine"', "there is no command no-such-engine"),
        pytest.param(
            f"command = {sys.executable!r}\nargs = ['-c', 'open(\"/models/absent/config.json\")']",
            "/models/absent",
            marks=pytest.mark.long,
        ),
    ],
)
def test_503_because_the_instance_cannot_start(ailing: Site, cures: Cures, backend: str, text: str) -> None:
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(before.partition("[backend]")[0] + f'[backend]\ntype = "command"\n{backend}\n')
    ailing.svc("up", status=1)
    wait_until(lambda: ailing.chat().status_code == 503, description="the router to hear of it")
    # On a busy machine supervisord calls the command RUNNING for a moment before it ends.
    cause = wait_until(
        lambda: (findings := doctor(ailing)) and findings[0]["key"] == "program.one:server" and findings[0],
        timeout=30,
        description="the cause first",
        interval=INTERVAL_SECONDS,
    )
    assert text in cause["what"]
    assert "[backend]" in cause["first"]
    assert "config/one.toml" in cause["first"]
    toml.write_text(before)
    cures.apply(ailing, cause, restarts=("one:*",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("program.*: svc up")
def test_a_program_whose_file_supervisord_has_not_read(ailing: Site, cures: Cures) -> None:
    ailing.mock("three", "fresh", heartbeat_interval=1)
    ailing.svc("render")
    cures.apply(ailing, find(ailing, "program.three:server"))
    assert ailing.chat("fresh").ok
    (ailing.root / "config" / "three.toml").unlink()
    ailing.svc("up")


@pytest.mark.cures("program.*: supervisorctl restart *")
def test_a_program_that_was_killed(ailing: Site, cures: Cures) -> None:
    os.kill(ailing.pid("one:server"), signal.SIGKILL)
    finding = find(ailing, "program.one:server")
    assert "SIGKILL" in finding["what"]
    cures.apply(ailing, finding, restarts=ONE)
    wait_until_healthy(ailing)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        pytest.param(
            "boom",
            "does not run",
            marks=[pytest.mark.cures("program.*: supervisorctl restart *"), pytest.mark.long],
        ),
        pytest.param(
            "std::bad_alloc",
            "the machine's memory is full",
            marks=[pytest.mark.cures("program.*: supervisorctl restart *"), pytest.mark.long],
        ),
        pytest.param("CUDA out of memory", "the GPU's memory is full", marks=pytest.mark.cures("program.*: svc up")),
    ],
)
def test_a_program_that_failed_for_a_reason_that_has_passed(
    ailing: Site, cures: Cures, text: str, meaning: str
) -> None:
    ill = fail(ailing, text)
    finding = find(ailing, "program.one:server")
    assert meaning in finding["what"]
    ill.unlink()
    cures.apply(ailing, finding, restarts=ONE)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "edit"),
    [
        pytest.param("boom", "", marks=pytest.mark.cures("restarts.*: supervisorctl restart *")),
        pytest.param("CUDA out of memory", "# less", marks=pytest.mark.cures("restarts.*: svc up")),
    ],
)
def test_a_program_that_was_restarted(ailing: Site, cures: Cures, text: str, edit: str) -> None:
    ill = fail(ailing, text)
    ill.unlink()
    finding = find(ailing, "restarts.one:server")
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(before.replace("exec ", f"{edit}\\nexec ") if edit else before)
    cures.apply(ailing, finding, restarts=("one:*",) if edit else ONE)
    assert not ailing.supervisord.restarts()["one:server"].restarts
    toml.write_text(before)
    ailing.svc("up")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("listen.*: svc up")
def test_a_server_that_listens_on_another_port(ailing: Site, cures: Cures) -> None:
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    port = ailing.service("one-server")["port"]
    toml.write_text(before.replace(f"--port {port}", f"--port {port + 2}"))
    ailing.svc("up", "--timeout", "3", status=1)
    finding = find(ailing, "listen.one:server", fix="*up")
    assert f"port {port + 2}" in finding["what"]
    toml.write_text(before)
    cures.apply(ailing, finding, restarts=("one:*",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("listen.*: svc status --watch", "listen.*: supervisorctl restart *")
def test_a_server_that_loads_its_model_for_long(ailing: Site, cures: Cures) -> None:
    for limits in ({}, {"checks.listeners.MAX_LOADING_SECONDS": 1}):
        slow = ailing.root / "slow"
        slow.touch()
        ailing.run("supervisorctl", "restart", "one:server")
        finding = find(ailing, "listen.one:server", fix="*supervisorctl restart*" if limits else "*", limits=limits)
        if limits:
            slow.unlink()
            cures.apply(ailing, finding, restarts=ONE)
        else:
            cures.watch(ailing, finding, slow.unlink, changing=ONE)  # it is "running" once it listens
        wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("listen.*: supervisorctl restart *")
def test_a_babysitter_that_hangs_before_it_listens(ailing: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"] + 1
    os.kill(ailing.pid("one:babysitter"), signal.SIGKILL)
    before = ailing.pid("one:babysitter")
    os.kill(wait_for_start(ailing, "one:babysitter", before), signal.SIGSTOP)
    limits = {"checks.listeners.STARTUP_SECONDS": 0, "start_phase.START_SECONDS": 0}
    finding = find(ailing, "listen.one:babysitter", limits=limits)
    assert f"port {port}" in finding["what"]
    cures.apply(ailing, finding, restarts=("one:babysitter",))
    wait_until_healthy(ailing)
