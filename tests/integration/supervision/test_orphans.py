import os
import signal
import socket
import sys

import pytest

from svc.supervision.launch import is_taken
from svc.supervision.orphans import kill_instance
from tests.integration.supervision import programs
from tests.integration.supervision.conftest import LAUNCH
from tests.processes import members
from tests.waiting import free_port, wait_until

PYTHON = f"{sys.executable} {programs.__file__}"


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_dead_server_takes_its_child_and_the_restart_finds_the_port_free(supervisord):
    port = free_port()
    supervisord.program("q", f"{LAUNCH} --port {port} -- {PYTHON} parent {port}", group="q", max_restarts=5)
    supervisord.start()
    wait_until(lambda: is_taken(port), description="the child holds the port")
    supervisord.await_state("q:server", "RUNNING")
    first = supervisord.client.process("q:server").pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisord.client.process("q:server").pid not in (0, first))
    supervisord.await_state("q:server", "RUNNING")
    wait_until(lambda: is_taken(port), description="the new child holds the port")
    assert supervisord.restarts("q:server") == 1
    supervisord.client.stop("q:server")
    wait_until(lambda: not is_taken(port), description="a stop takes the child too")


def test_kill_9_of_supervisord_ends_its_programs(supervisord):
    supervisord.program("q", f"{LAUNCH} -- sleep 1000", group="q")
    supervisord.program("b", f"{LAUNCH} --death-signal TERM -- sleep 1000")
    supervisord.start()
    supervisord.await_state("q:server", "RUNNING")
    supervisord.process.kill()
    supervisord.process.wait()
    wait_until(lambda: not members(supervisord.process.pid), description="nothing is left")


def test_sigterm_ends_everything(supervisord):
    port = free_port()
    start_with_child(supervisord, port)
    supervisord.await_state("q:server", "RUNNING")
    supervisord.process.terminate()
    assert supervisord.process.wait(10) == 0
    assert members(supervisord.process.pid) == []
    assert not is_taken(port)


def start_with_child(supervisord, port, title=""):
    """q:server, whose child holds the port; its pid."""
    supervisord.program("q", f"{LAUNCH} --port {port} -- {PYTHON} parent {port} {title}", group="q")
    supervisord.start()
    wait_until(lambda: is_taken(port), description="the child holds the port")
    return supervisord.client.process("q:server").pid


def test_kill_instance_ends_what_the_death_signal_does_not_reach(supervisord):
    port = free_port()
    pid = start_with_child(supervisord, port)
    supervisord.process.kill()
    supervisord.process.wait()
    wait_until(lambda: gone(pid), description="the server is gone")
    assert is_taken(port), "its child is not: this is what there is to cure"
    assert kill_instance("other", supervisord.url, None) == []
    assert kill_instance("q", "unix:///other.sock", None) == []
    assert len(kill_instance("q", supervisord.url, None)) == 1
    wait_until(lambda: not is_taken(port), description="the port is free")


@pytest.mark.parametrize("title", ["", "overwritten"])
def test_a_babysitter_ends_its_instance_when_supervisord_is_killed(supervisord, title):
    port = free_port()
    start_with_child(supervisord, port, title)
    supervisord.program("b", f"{LAUNCH} --death-signal TERM -- {PYTHON} babysit q")
    supervisord.client.update()
    wait_until(lambda: "watching" in supervisord.log("b"))
    supervisord.process.kill()
    supervisord.process.wait()
    wait_until(lambda: not members(supervisord.process.pid), description="nothing is left")
    assert not is_taken(port)


def test_a_taken_port_and_a_missing_command_are_one_line_in_the_log(supervisord):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        supervisord.program("taken", f"{LAUNCH} --port {port} -- sleep 1000", max_restarts=0)
        supervisord.program("missing", f"{LAUNCH} -- no-such-server --port 1", max_restarts=0)
        supervisord.start()
        supervisord.await_state("taken", "FATAL")
        supervisord.await_state("missing", "FATAL")
    assert f"port {port} is taken by" in supervisord.log("taken")
    assert supervisord.log("taken").count("\n") == 1
    assert supervisord.log("missing").startswith("svc launch: cannot run 'no-such-server': not found in PATH")
    assert supervisord.log("missing").count("\n") == 1
