import os
import re
import signal
from contextlib import suppress

import pytest

from svc.base.errors import CommandError
from svc.supervision.client import Restarts
from tests.integration.supervision.conftest import LAUNCH
from tests.waiting import wait_until


def spawns(supervisord, name):
    """Return how often a program was started, by its own log."""
    return supervisord.log(name).count("begun")


def test_fatal_after_exactly_max_restarts(supervisord):
    supervisord.program("early", "sh -c 'echo begun; exit 3'", max_restarts=3)
    supervisord.program("late", "sh -c 'echo begun; sleep 1.2; exit 3'", max_restarts=1)
    supervisord.program("content", "sh -c 'echo begun; sleep 1.2; exit 0'", max_restarts=1)
    supervisord.program("never", "sh -c 'echo begun; exit 3'", max_restarts=0)
    supervisord.start()
    for name, restarts in {"early": 3, "late": 1, "content": 1, "never": 0}.items():
        supervisord.await_state(name, "FATAL")
        assert spawns(supervisord, name) == 1 + restarts
        state = supervisord.client.restarts()[name]
        assert (state.restarts, state.max_restarts, state.failed) == (restarts, restarts, True)
    assert f"gave up after {3} restarts" in supervisord.ctl("status", "early")


def test_a_command_that_is_not_found_counts_as_a_failure(supervisord):
    supervisord.program("missing", "no-such-command-at-all", max_restarts=2)
    supervisord.start().await_state("missing", "FATAL")
    assert supervisord.client.restarts()["missing"].failed
    assert (supervisord.root / "supervisord.log").read_text().count("spawnerr: can't find command") == 3


def test_the_delay_passes_in_backoff(supervisord):
    """The order in supervisord's log is that of the delays, however late a busy machine runs supervisord."""
    for name, delay in (("dies", 2.5), ("later", 5), ("waits", 60.5)):
        supervisord.program(name, "sh -c 'date +%%s; echo begun; exit 1'", max_restarts=1, delay=delay)
    supervisord.start().await_state("waits", "BACKOFF")
    assert "restart 1 of 1 in 60.5 s" in supervisord.ctl("status", "waits")
    assert supervisord.restarts("waits") == 0
    wait_until(lambda: spawns(supervisord, "later") == 2, timeout=30)
    first, second = (int(line) for line in supervisord.log("dies").splitlines() if line != "begun")
    assert second - first >= 2
    log = (supervisord.root / "supervisord.log").read_text()
    assert re.findall(r"spawned: '(\w+)'", log)[3:] == ["dies", "later"]
    assert supervisord.state("waits") == "BACKOFF"


def test_kill_and_signal_kill_are_crashes(supervisord):
    supervisord.program("server", "sleep 1000", max_restarts=9)
    supervisord.start().await_state("server", "RUNNING")
    first = supervisord.client.process("server").pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisord.client.process("server").pid not in (0, first))
    assert supervisord.restarts("server") == 1
    supervisord.await_state("server", "RUNNING")
    supervisord.ctl("signal", "KILL", "server")
    wait_until(lambda: supervisord.restarts("server") == 2)
    supervisord.await_state("server", "RUNNING")
    assert supervisord.restarts("server") == 2  # running well takes nothing back


def test_requested_starts_and_restarts_are_not_counted(supervisord):
    supervisord.program("server", "sleep 1000", max_restarts=9)
    supervisord.start().await_state("server", "RUNNING")
    os.kill(supervisord.client.process("server").pid, signal.SIGKILL)
    wait_until(lambda: supervisord.restarts("server") == 1)
    supervisord.await_state("server", "RUNNING")
    supervisord.ctl("restart", "server")
    assert supervisord.restarts("server") == 0
    supervisord.client.stop("server")
    supervisord.client.start("server")
    assert supervisord.restarts("server") == 0


def test_stop_during_the_delay_and_start_begins_anew(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=3, delay=0)
    supervisord.start().await_state("dies", "FATAL")
    hold = supervisord.root / "hold"  # while it is there the program runs: a start fails if the program ends meanwhile
    hold.touch()
    supervisord.program("dies", f"sh -c 'while [ -e {hold} ]; do sleep 0.05; done; exit 1'", max_restarts=3, delay=60)
    supervisord.client.update()
    hold.unlink()
    supervisord.await_state("dies", "BACKOFF")
    assert "stopped" in supervisord.ctl("stop", "dies")
    assert supervisord.state("dies") == "STOPPED"
    hold.touch()
    assert supervisord.client.start("dies", wait=False)
    hold.unlink()
    supervisord.await_state("dies", "BACKOFF")
    assert supervisord.restarts("dies") == 0


def test_a_start_after_fatal_resets_the_restarts(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=2)
    supervisord.start().await_state("dies", "FATAL")
    with suppress(CommandError):  # supervisord may see it end before it answers
        supervisord.client.start("dies", wait=False)
    wait_until(lambda: spawns(supervisord, "dies") == 6)
    supervisord.await_state("dies", "FATAL")
    assert spawns(supervisord, "dies") == 6


def test_a_reload_keeps_the_restart_limits(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=2)
    supervisord.start().await_state("dies", "FATAL")
    os.kill(supervisord.process.pid, signal.SIGHUP)
    wait_until(lambda: spawns(supervisord, "dies") > 3)
    supervisord.await_state("dies", "FATAL")
    assert spawns(supervisord, "dies") == 6
    assert supervisord.client.restarts()["dies"].failed


def test_foreign_programs_are_left_alone(supervisord):
    supervisord.program("foreign", "sh -c 'sleep 1000 & echo child $!; exit 1'", environment="", startretries=1)
    supervisord.start().await_state("foreign", "FATAL")
    assert supervisord.client.restarts() == {}
    child = int(supervisord.log("foreign").split()[1])
    os.kill(child, signal.SIGTERM)  # still there: nobody killed its group


def test_an_invalid_limit_does_not_harm_supervisord(supervisord):
    supervisord.program("odd", "sleep 1000", max_restarts="many")
    supervisord.program("good", "sleep 1000")
    supervisord.start().await_state("odd", "RUNNING")
    assert list(supervisord.client.restarts()) == ["good"]
    assert "SVC_MAX_RESTARTS='many'" in (supervisord.root / "supervisord.log").read_text()


def test_the_programs_find_svc_and_know_their_supervisord(supervisord):
    supervisord.program(
        "shows", "sh -c 'command -v supervisorctl; echo $SVC_SUPERVISOR_PID $PATH; echo $SVC_PATH; sleep 9'"
    )
    supervisord.start()
    where, state, path = wait_until(lambda: len(t := supervisord.log("shows").splitlines()) >= 3 and t)[:3]
    assert state.split()[0] == str(supervisord.process.pid)
    assert os.path.dirname(where) == state.split(" ", 1)[1].split(":")[0]
    assert path == os.environ["PATH"]


def test_a_forced_restart_counts_as_a_crash_with_its_reason(supervisord):
    supervisord.program("waits", "sleep 1000", max_restarts=3, delay=60)
    supervisord.program("server", "sleep 1000", max_restarts=3, delay=0)
    supervisord.start().await_state("waits", "RUNNING")
    pid = supervisord.client.process("waits").pid
    assert not supervisord.client.force_restart("waits", pid + 1, "hung")  # another life
    assert supervisord.client.force_restart("waits", pid, "hung: no token")
    supervisord.await_state("waits", "BACKOFF")
    assert "hung: no token; restart 1 of 3 in 60 s" in supervisord.ctl("status", "waits")
    assert not supervisord.client.force_restart("waits", pid, "hung")
    supervisord.await_state("server", "RUNNING")
    pid = supervisord.client.process("server").pid
    assert supervisord.client.force_restart("server", pid, "hung: no token")
    wait_until(lambda: supervisord.client.process("server").pid not in (0, pid))
    supervisord.await_state("server", "RUNNING")
    assert supervisord.client.restarts()["server"] == Restarts(1, 3, failed=False, reason="hung: no token")
    supervisord.ctl("restart", "server")
    assert supervisord.client.restarts()["server"] == Restarts(0, 3, failed=False)


def test_a_process_that_ignores_its_stop_signal_is_killed(supervisord):
    supervisord.program("server", "sh -c 'trap : TERM; sleep 1000 & echo $!; while :; do wait; done'", stopwaitsecs=1)
    supervisord.start().await_state("server", "RUNNING")
    pid, child = supervisord.client.process("server").pid, int(supervisord.log("server"))
    assert supervisord.client.force_restart("server", pid, "hung")
    assert supervisord.client.force_restart("server", pid, "hung")  # which does not send it another signal
    wait_until(lambda: supervisord.restarts("server") == 1, description="it is killed, and started again")
    wait_until(lambda: not alive(child), description="its child is gone")


def test_forced_restarts_use_up_the_restarts(supervisord):
    supervisord.program("server", "sleep 1000", max_restarts=0)
    supervisord.start().await_state("server", "RUNNING")
    supervisord.client.force_restart("server", supervisord.client.process("server").pid, "memory: 2 GiB")
    supervisord.await_state("server", "FATAL")
    assert "memory: 2 GiB; gave up after 0 restarts" in supervisord.ctl("status", "server")


def test_an_unknown_program_cannot_be_restarted_by_force(supervisord):
    supervisord.start()
    with pytest.raises(CommandError, match="nothing:here: there is no such program"):
        supervisord.client.force_restart("nothing:here", 7, "hung")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_logs_are_private_and_instances_get_the_operators_umask(supervisord):
    for name in ("old.log", "old.log.1"):
        (supervisord.root / name).write_text("0000\n")
        (supervisord.root / name).chmod(0o666)
    supervisord.program("old", f"{LAUNCH} -- sh -c 'umask; sleep 9'")
    supervisord.program("own", f"{LAUNCH} --own -- sh -c 'umask; sleep 9'")
    before = os.umask(0o002)
    try:
        supervisord.start()
    finally:
        os.umask(before)
    assert wait_until(lambda: supervisord.log("old").split()[1:]) == ["0002"]
    assert wait_until(lambda: supervisord.log("own").split()) == ["0027"]
    logs = sorted(supervisord.root.glob("*.log*"))
    assert {path.name: oct(path.stat().st_mode & 0o137) for path in logs} == dict.fromkeys(
        ["old.log", "old.log.1", "own.log", "supervisord.log"], "0o0"
    )
