"""What the commands report of a supervisord that a signal has stopped, and of one that is shutting down."""

import json
import os
import signal
import subprocess

from svc.base import procfs
from tests.waiting import free_port_pair, wait_until

PROGRAM = 'command = "sh"\nargs = ["-c", "{}echo begun; exec sleep 1000"]'


def started(site, trap=""):
    """Start supervisord with one instance, which first runs the command `trap`; return supervisord's pid."""
    site.toml("slow", free_port_pair(), PROGRAM.format(trap))
    toml = site.root / "config" / "svc.toml"
    toml.write_text(f'{toml.read_text()}[launch]\ncomponents = "babysitter"\n')
    site.svc("render")
    site.run("supervisord", "-c", str(site.root / "supervisord.conf"))
    log = site.root / "logs" / "server_slow.log"
    wait_until(lambda: site.control_answers() and log.exists() and "begun" in log.read_text(), 60, "its programs run")
    return site.pid()


def test_a_stopped_supervisord_is_named_first_with_the_cure(site):
    pid = started(site)
    programs = {name: process.pid for name, process in site.supervisord.processes().items()}
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: procfs.stat(pid).is_stopped, description="supervisord has stopped")
        report = f"svc: supervisord: pid {pid} does not answer: stopped (state T); `kill -CONT {pid}` lets it go on"
        for arguments in (["up"], ["down"], ["status"], ["plan"], ["apply"], ["health"]):
            assert site.refused(*arguments) == report, arguments
        status = json.loads(site.svc("status", "--json", status=1)[0])
        assert (status["supervisord"], status["problems"]) == (pid, [report.removeprefix("svc: ")])
        assert "begun" in site.svc("logs", "slow:server")[0], "the logs are readable"
        out = site.svc("doctor", "--json", status=1)[0]
        findings = json.loads(out)["findings"]
        assert findings[0]["what"] == f"supervisord: pid {pid} does not answer: stopped (state T)"
        assert "kill -9" not in out
        subprocess.run(["sh", "-c", findings[0]["fix"]], check=True)
        wait_until(site.control_answers, description="supervisord answers after the cure")
        assert {name: process.pid for name, process in site.supervisord.processes().items()} == programs
    finally:
        os.kill(pid, signal.SIGCONT)


def test_commands_say_that_the_site_is_stopping(site):
    pid = started(site, "trap '' TERM; ")
    server = site.pid("slow:server")
    site.supervisord.shutdown()
    wait_until(lambda: site.supervisord.state() == "SHUTDOWN", 30, "supervisord ends its programs")
    report = f"svc: the site is stopping: supervisord (pid {pid}) is shutting down; repeat the command in some seconds"
    for arguments in (["status"], ["plan"], ["apply"], ["health"], ["rollout", "restart", "slow"]):
        assert site.refused(*arguments) == report, arguments
    assert "begun" in site.svc("logs", "slow:server")[0], "the logs are readable"
    findings = json.loads(site.svc("doctor", "--json", status=1)[0])["findings"]
    assert f"the site is stopping: supervisord (pid {pid}) is shutting down" in [f["what"] for f in findings]
    assert not [f for f in findings if f["key"].startswith(("leftovers", "supervisord.mute", "port."))]
    os.killpg(server, signal.SIGKILL)
    wait_until(lambda: not site.processes(), 30, "supervisord has ended")
