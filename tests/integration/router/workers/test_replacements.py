"""Processes that are killed or stopped at bad moments: while a HUP replaces them all, or while they hold the lock."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.router.instance import Instance
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.workers.processes import Gate, control_process, post, relaying_processes
from tests.unit.router.workers.lock_holder import HOLD_LOCK
from tests.waiting import wait_until


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def own(tmp_path: Path, gate: Gate) -> Iterator[Router]:
    """Return a router with two processes that relay, before an instance that holds requests."""
    instance = Instance()
    instance.play(gate)
    path = static(tmp_path / "static.json", [service("a", instance.port, "m", metadata={"max_concurrency": 4})])
    with router("--workers", 2, "--static-services", path, "--health-interval", 600) as own:
        yield own
    instance.close()


@pytest.mark.parametrize("position", [0, 1], ids=["control process", "process that relays"])
def test_a_process_killed_during_a_hup_is_replaced_while_old_requests_run(own: Router, gate: Gate, position: int):
    old = own.processes()
    with own.client() as first, own.client() as second:
        first.send(post(1))
        wait_until(lambda: gate.in_flight == 1)
        own.process.send_signal(signal.SIGHUP)
        killed = wait_until(lambda: [pid for pid in own.processes() if pid not in old][position:], interval=0.002)[0]
        os.kill(killed, signal.SIGKILL)
        second.send(post(2))
        wait_until(lambda: gate.in_flight == 2, timeout=20, description="a request at the new processes")
        wait_until(lambda: len(set(own.processes()) - {*old, killed}) == 3, description="a complete new group")
        assert set(own.processes()) & set(old), "the old group still has its request"
        gate.let_through(2)
        assert [client.answer().status for client in (first, second)] == [200, 200]
    wait_until(lambda: not set(own.processes()) & set(old), description="the end of the old group")
    assert len(own.processes()) == 3
    own.assert_no_exception()


def test_a_stopped_process_with_the_lock_is_killed_before_the_others_are(own: Router, gate: Gate):
    before = {control_process(own), *relaying_processes(own)}
    killed = relaying_processes(own)[0]
    with stopped_holder(own) as holder, own.client() as client:
        client.send(post(1))
        os.kill(killed, signal.SIGKILL)  # the master needs the lock, too, to clear its counts
        assert holder.wait(30) == -signal.SIGKILL
        wait_until(lambda: len(own.processes()) == 3 and killed not in own.processes())
        assert before - {killed} <= set(own.processes())
        assert f"process {holder.pid} is killed" in own.output()
        gate.let_through(10)
        with own.client() as fresh:
            assert fresh.send(post(2)).answer().status == 200


@contextmanager
def stopped_holder(own: Router) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that holds the lock of the router's processes, and is stopped."""
    descriptors = Path(f"/proc/{own.process.pid}/fd").iterdir()
    path = next(fd for fd in descriptors if os.readlink(fd).startswith("/memfd:svc-router-lock"))
    command = [sys.executable, "-c", HOLD_LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()
