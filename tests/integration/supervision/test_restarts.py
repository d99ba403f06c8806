import os
import signal
import time
from contextlib import suppress

from svc.errors import CommandError
from svc.supervision.control import Restarts
from tests.waiting import until


def spawns(supervisord, name):
    """How often it was started, by its own account."""
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
        assert supervisord.control.restarts()[name] == Restarts(restarts, restarts, failed=True)
    assert f"gave up after {3} restarts" in supervisord.ctl("status", "early")


def test_a_command_that_is_not_found_counts_likewise(supervisord):
    supervisord.program("missing", "no-such-command-at-all", max_restarts=2)
    supervisord.start().await_state("missing", "FATAL")
    assert supervisord.control.restarts()["missing"] == Restarts(2, 2, failed=True)
    assert (supervisord.root / "supervisord.log").read_text().count("spawnerr: can't find command") == 3


def test_the_delay_is_kept_and_shown_as_backoff(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=1, delay=2.5)
    supervisord.start().await_state("dies", "BACKOFF")
    begun = supervisord.control.process("dies").stop
    assert "restart 1 of 1 in 2.5 s" in supervisord.ctl("status", "dies")
    assert supervisord.restarts("dies") == 0
    until(lambda: spawns(supervisord, "dies") == 2)
    assert 2 <= time.time() - begun <= 5


def test_kill_and_signal_kill_are_crashes(supervisord):
    supervisord.program("server", "sleep 1000", max_restarts=9)
    supervisord.start().await_state("server", "RUNNING")
    first = supervisord.control.process("server").pid
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisord.control.process("server").pid not in (0, first))
    assert supervisord.restarts("server") == 1
    supervisord.await_state("server", "RUNNING")
    supervisord.ctl("signal", "KILL", "server")
    until(lambda: supervisord.restarts("server") == 2)
    supervisord.await_state("server", "RUNNING")
    assert supervisord.restarts("server") == 2  # running well takes nothing back


def test_starts_and_restarts_by_hand_are_not_counted(supervisord):
    supervisord.program("server", "sleep 1000", max_restarts=9)
    supervisord.start().await_state("server", "RUNNING")
    os.kill(supervisord.control.process("server").pid, signal.SIGKILL)
    until(lambda: supervisord.restarts("server") == 1)
    supervisord.await_state("server", "RUNNING")
    supervisord.ctl("restart", "server")
    assert supervisord.restarts("server") == 0
    supervisord.control.stop("server")
    supervisord.control.start("server")
    assert supervisord.restarts("server") == 0


def test_stop_during_the_delay_and_start_begins_anew(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=3, delay=0)
    supervisord.start().await_state("dies", "FATAL")
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=3, delay=60)
    supervisord.control.update()
    supervisord.await_state("dies", "BACKOFF")
    assert "stopped" in supervisord.ctl("stop", "dies")
    assert supervisord.state("dies") == "STOPPED"
    assert supervisord.control.start("dies", wait=False)
    supervisord.await_state("dies", "BACKOFF")
    assert supervisord.restarts("dies") == 0


def test_start_after_fatal_gives_all_restarts_again(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=2)
    supervisord.start().await_state("dies", "FATAL")
    with suppress(CommandError):  # supervisord may see it end before it answers
        supervisord.control.start("dies", wait=False)
    until(lambda: spawns(supervisord, "dies") == 6)
    supervisord.await_state("dies", "FATAL")
    assert spawns(supervisord, "dies") == 6


def test_a_reload_keeps_the_policy(supervisord):
    supervisord.program("dies", "sh -c 'echo begun; exit 1'", max_restarts=2)
    supervisord.start().await_state("dies", "FATAL")
    os.kill(supervisord.process.pid, signal.SIGHUP)
    until(lambda: spawns(supervisord, "dies") > 3)
    supervisord.await_state("dies", "FATAL")
    assert spawns(supervisord, "dies") == 6
    assert supervisord.control.restarts()["dies"] == Restarts(2, 2, failed=True)


def test_foreign_programs_are_left_alone(supervisord):
    supervisord.program("foreign", "sh -c 'sleep 1000 & echo child $!; exit 1'", environment="", startretries=1)
    supervisord.start().await_state("foreign", "FATAL")
    assert supervisord.control.restarts() == {}
    child = int(supervisord.log("foreign").split()[1])
    os.kill(child, signal.SIGTERM)  # still there: nobody killed its group


def test_a_limit_that_is_no_number_does_not_hurt_supervisord(supervisord):
    supervisord.program("odd", "sleep 1000", max_restarts="many")
    supervisord.program("good", "sleep 1000")
    supervisord.start().await_state("odd", "RUNNING")
    assert list(supervisord.control.restarts()) == ["good"]
    assert "SVC_MAX_RESTARTS='many'" in (supervisord.root / "supervisord.log").read_text()


def test_the_programs_find_svc_and_know_their_supervisord(supervisord):
    supervisord.program(
        "shows", "sh -c 'command -v supervisorctl; echo $SVC_SUPERVISOR_PID $PATH; echo $SVC_PATH; sleep 9'"
    )
    supervisord.start()
    where, told, path = until(lambda: len(t := supervisord.log("shows").splitlines()) >= 3 and t)[:3]
    assert told.split()[0] == str(supervisord.process.pid)
    assert os.path.dirname(where) == told.split(" ", 1)[1].split(":")[0]
    assert path == os.environ["PATH"]
