"""Ports that something else holds, and processes that outlived an earlier supervisord, with the cures of the doctor."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pwd import getpwnam

import pytest

from tests.e2e.doctor.diagnosis import EVERY_PROGRAM, Cures, everything, find, stop_server, wait_until_healthy
from tests.e2e.sites import Site
from tests.waiting import free_port_pair, wait_until

ONE = ("one:server",)
LISTENER = """
import signal, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
signal.pause()
"""


@contextmanager
def listener(
    port: int, environ: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Listen on a port with a process that is no program of a site, unless its environment says so."""
    command = [sys.executable, "-c", LISTENER, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, start_new_session=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.kill()


def marks_of(site: Site, program: str) -> dict[str, str]:
    """Return the variables that a supervisord of the site gives to a program."""
    group, _, name = program.partition(":")
    url = f"unix://{site.root}/var/supervisor.sock"
    return {"SUPERVISOR_SERVER_URL": url, "SUPERVISOR_GROUP_NAME": group, "SUPERVISOR_PROCESS_NAME": name}


@pytest.mark.long
@pytest.mark.cures("port.*: kill **", "port.*: kill **", "port.*: kill **")
def test_a_port_that_another_program_holds(ailing: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"]
    ailing.run("supervisorctl", "stop", "one:server")
    with listener(port) as other:  # the program is stopped, and the cure starts it
        cause = find(ailing, f"port.{port}")
        assert f"(pid {other.pid})" in cause["what"]
        cures.apply(ailing, cause, restarts=ONE)
        other.wait(10)
    wait_until_healthy(ailing)
    ailing.run("supervisorctl", "stop", "one:server")
    with listener(port) as other:  # the program waits for its next start, and starts by itself
        ailing.run("supervisorctl", "start", "one:server", status=None)
        wait_until(lambda: ailing.supervisord.process("one:server").state == "BACKOFF", description="the refusal")
        cause = find(ailing, f"port.{port}", fix="kill [0-9]*")
        assert {"program.one:server", "model.m"} <= everything([cause]).keys()
        cures.apply(ailing, cause, restarts=ONE)
        other.wait(10)
    wait_until_healthy(ailing)
    ailing.svc("down")
    with listener(port) as other:  # nothing runs, and the cure starts the site
        cures.apply(ailing, find(ailing, f"port.{port}"), restarts=EVERY_PROGRAM)
        other.wait(10)
    wait_until_healthy(ailing)


@pytest.mark.cures("leftovers: kill -9 *", "port.*: kill -9 *")
@pytest.mark.long
def test_processes_that_outlived_an_earlier_supervisord(ailing: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"]
    stop_server(ailing)
    with listener(port, marks_of(ailing, "one:server")) as left:
        leftovers = find(ailing, "leftovers")
        held = everything([leftovers])[f"port.{port}"]
        assert str(left.pid) in leftovers["fix"]
        cures.apply(ailing, held, leaves=("program.one:server", "model.m", "instance.*"))
        assert left.wait(10) == -signal.SIGKILL
    with listener(port, marks_of(ailing, "one:server")) as left:
        cures.apply(ailing, find(ailing, "leftovers"), leaves=("program.one:server", "model.m", "instance.*"))
        assert left.wait(10) == -signal.SIGKILL
    ailing.run("supervisorctl", "start", "one:server")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("leftovers: svc down && svc up")
def test_processes_that_outlived_a_supervisord_that_was_killed(ailing: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"] + 2
    os.kill(ailing.pid(), signal.SIGKILL)
    wait_until(lambda: not ailing.processes(), 30, "the end of its programs, which end other processes of the instance")
    with listener(port, marks_of(ailing, "one:server")) as left:
        finding = find(ailing, "leftovers", fix="*up")
        cures.apply(ailing, finding, restarts=EVERY_PROGRAM)
        left.wait(10)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("port.*: svc up")
def test_a_port_that_another_program_of_the_site_holds(ailing: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"]
    own_port = free_port_pair()
    server = 'command = "svc mock"\nargs = ["--name", "three", "--port", "{}", "--models", "o"]'
    ailing.toml("three", own_port, server.format(port), heartbeat_interval=1)
    ailing.svc("up", "--timeout", "2", status=1)
    ailing.run("supervisorctl", "stop", "one:server")
    finding = find(ailing, f"port.{port}")
    assert "three:server" in finding["why"]
    ailing.toml("three", own_port, server.format(own_port), heartbeat_interval=1)
    cures.apply(ailing, finding, restarts=("one:*", "three:*"))
    (ailing.root / "config" / "three.toml").unlink()
    ailing.svc("up")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("port.*: *")
def test_a_port_that_another_site_holds(ailing: Site, site: Site, cures: Cures) -> None:
    port = ailing.service("one-server")["port"]
    stop_server(ailing)
    server = f'command = "svc mock"\nargs = ["--name", "other", "--port", "{port - 1}", "--models", "o"]'
    site.toml("other", port - 1, server)  # its babysitter has the port of our server
    site.svc("up")
    finding = find(ailing, f"port.{port}")
    assert str(site.root) in finding["what"]
    cures.apply(ailing, finding, leaves=("program.one:server", "model.m", "instance.*"))
    ailing.run("supervisorctl", "start", "one:server")
    wait_until_healthy(ailing)
    assert not site.processes()


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.cures("port.*: *ss -ltnp 'sport = :*'")
def test_a_port_that_a_process_of_another_user_holds(site: Site, cures: Cures) -> None:
    """Without the right to look at other users' processes, /proc does not show which process it is."""
    port = site.mock("one", heartbeat_interval=1)
    site.svc("render")
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, getpwnam("nobody").pw_uid, -1)
    with listener(port) as other:
        finding = find(site, f"port.{port}", user="nobody")
        assert "another user" in finding["what"]
        assert finding["fix"].startswith("sudo ss")
        cures.look(site, finding, f"pid={other.pid}")
