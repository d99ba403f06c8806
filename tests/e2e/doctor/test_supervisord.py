"""A supervisord that does not run, does not answer or is not svc's, with the cures of `svc doctor`."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import machine
from tests.e2e.doctor.diagnosis import (
    EVERY_PROGRAM,
    Cures,
    doctor,
    everything,
    find,
    run_command,
    wait_until_healthy,
)
from tests.e2e.sites import BIN, Site
from tests.e2e.systemd import systemd_section
from tests.waiting import free_port_pair, wait_until

IMPOSTOR = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print('listening', flush=True)
while True:
    connection = listener.accept()[0]
    connection.recv(65536)
    try:
        connection.sendall(b"HTTP/1.0 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except OSError:
        pass
    connection.close()
"""


@pytest.mark.cures("supervisord.down: svc up")
def test_a_site_that_does_not_run(site: Site, cures: Cures) -> None:
    site.mock("one")
    [down] = doctor(site)
    assert down["key"] == "supervisord.down"
    assert down["consequences"]
    assert len(site.svc("doctor", status=1)[0].splitlines()[0]) < 200
    cures.apply(site, down, restarts=EVERY_PROGRAM)
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("supervisord.lost: svc down && svc up")
def test_a_supervisord_whose_socket_is_gone(ailing: Site, cures: Cures) -> None:
    (ailing.root / "var" / "supervisor.sock").unlink()
    cures.apply(ailing, find(ailing, "supervisord.lost"), restarts=EVERY_PROGRAM)
    wait_until_healthy(ailing)


@pytest.mark.cures(
    'supervisord.foreign: supervisorctl -s "unix://$PWD/var/supervisor.sock" shutdown && sleep 5 && svc up'
)
def test_a_supervisord_that_is_not_svc_s(site: Site, cures: Cures) -> None:
    """With a socket where ours would be, and without our extension."""
    site.mock("one")
    site.svc("render")
    (site.root / "var").mkdir(exist_ok=True)
    start_foreign(site)
    findings = doctor(site)
    assert findings[0]["key"] == "supervisord.foreign"
    cures.apply(site, findings[0], restarts=EVERY_PROGRAM)
    wait_until_healthy(site)


def start_foreign(site: Site, **environ: str) -> None:
    conf = site.root / "other.conf"
    conf.write_text(
        f"[supervisord]\npidfile={site.root}/var/supervisord.pid\nlogfile={site.root}/other.log\n"
        f"[unix_http_server]\nfile={site.root}/var/supervisor.sock\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    site.run("supervisord", "-c", str(conf), **environ)
    wait_until(lambda: (site.root / "var" / "supervisor.sock").exists(), description="the socket")


@pytest.mark.long
@pytest.mark.cures("supervisord.stopped: *kill -CONT *")
def test_a_supervisord_that_a_signal_has_stopped(ailing: Site, cures: Cures) -> None:
    pids = {name: process.pid for name, process in ailing.supervisord.processes().items()}
    os.kill(ailing.pid(), signal.SIGSTOP)
    cures.apply(ailing, find(ailing, "supervisord.stopped"))
    assert {name: process.pid for name, process in ailing.supervisord.processes().items()} == pids
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("supervisord.ending: svc doctor")
def test_a_supervisord_that_is_shutting_down(site: Site, cures: Cures) -> None:
    script = json.dumps(["-c", "trap '' TERM; echo begun; while :; do sleep 1; done"])
    site.toml("slow", free_port_pair(), f'command = "sh"\nargs = {script}')
    site.svc("up", "--timeout", "3", status=1)
    server = site.pid("slow:server")
    assert server
    site.supervisord.shutdown()
    finding = find(site, "supervisord.ending")
    os.killpg(server, signal.SIGKILL)  # the operator waits
    wait_until(lambda: not site.processes(), 30, "supervisord has ended")
    cures.look(site, finding, "nothing runs here", status=1)


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.cures(
    "supervisord.denied: sudo -u * svc doctor",
    "disk.*: sudo -u * svc doctor",
    "token.*: sudo -u * svc doctor",
)
def test_another_user_s_site(site: Site, cures: Cures) -> None:
    """Nothing that this user is told changes the owner of a file."""
    token = site.root / "token"
    token.write_text("secret")
    token.chmod(0o600)
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text().replace("[registry]", f'[registry]\ntoken_file = "{token}"'))
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    site.root.chmod(0o755)
    for key in ("supervisord.denied", "disk.var", f"token.{token}"):
        cures.look(site, find(site, key, user="nobody"), "programs")
    assert "chown" not in json.dumps(doctor(site, user="nobody"))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.parametrize(
    "fix",
    [
        pytest.param("kill *", marks=pytest.mark.cures("supervisord.mute: kill * && sleep 5 && svc down && svc up")),
        pytest.param("*svc down*", marks=pytest.mark.cures("supervisord.mute: svc down && svc up")),
    ],
)
def test_a_supervisord_that_does_not_answer_as_it_should(site: Site, cures: Cures, fix: str) -> None:
    """Its socket belongs to something else, beside a supervisord that runs, and without one."""
    site.mock("one", heartbeat_interval=1)
    if fix.startswith("kill"):
        site.svc("up")
    path = site.root / "var" / "supervisor.sock"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "-c", IMPOSTOR, str(path)], stdout=subprocess.PIPE) as impostor:
        assert impostor.stdout
        assert impostor.stdout.readline()
        finding = find(site, "supervisord.mute", fix=fix)
        impostor.kill()
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(False, marks=pytest.mark.cures("supervisord.old: svc down && svc up")),
        pytest.param(
            True,
            marks=pytest.mark.cures(
                'supervisord.old: supervisorctl -s "unix://$PWD/var/supervisor.sock" shutdown && sleep 5 && svc up'
            ),
        ),
    ],
)
def test_a_supervisord_from_before_an_upgrade(site: Site, cures: Cures, foreign: bool, tmp_path: Path) -> None:
    """With the number of an older version."""
    site.mock("one", heartbeat_interval=1)
    site.svc("render")
    (site.root / "var").mkdir(exist_ok=True)
    (tmp_path / "sitecustomize.py").write_text("import supervisor.options as o\no.VERSION = '4.2.5'\n")
    older = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    if foreign:
        start_foreign(site, **older)
    else:
        site.run("supervisord", "-c", str(site.root / "supervisord.conf"), **older)
        wait_until(site.control_answers, 30, "supervisord")
    finding = find(site, "supervisord.old")
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    wait_until_healthy(site)


SYSTEMCTL = """#!/bin/sh
test "$*" = "start infinilm-svc" || exit 1
exec supervisord -c supervisord.conf
"""
WITH_UNIT = f"""
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp systemd/infinilm-svc.service /run/systemd/system/
exec {BIN}/svc doctor --json
"""


@pytest.mark.long
@pytest.mark.skipif(bool(machine.missing()), reason=machine.missing())
@pytest.mark.cures("supervisord.outside: svc down && *")
def test_a_supervisord_outside_of_the_site_s_unit(
    site: Site, cures: Cures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a systemctl that starts what the unit names; tests/e2e/test_hosts_systemd.py has the real one."""
    systemd_section(site)
    site.mock("one", heartbeat_interval=1)
    site.svc("render", "--systemd")
    site.svc("up")
    out = run_command(site, f"unshare --mount sh -c {shlex.quote(WITH_UNIT)}", status=None)
    finding = everything(json.loads(out)["findings"])["supervisord.outside"]
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{BIN}:{os.environ['PATH']}")
    before = site.pid()
    cures.apply(site, finding, restarts=EVERY_PROGRAM)
    assert site.pid() != before
    wait_until_healthy(site)
