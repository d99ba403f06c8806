"""Processes are killed, and no process or registration remains."""

import json
import os
import signal

from tests.waiting import free_port_pair, is_free, wait_until


def test_no_process_survives_a_supervisord_that_is_killed(site):
    port = site.mock("family", "m", "--child")
    site.svc("up")
    assert len([command for command in site.processes().values() if "--child" in command]) == 2
    os.kill(site.pid(), signal.SIGKILL)
    wait_until(lambda: not site.processes(), timeout=20, description="every process to be gone")
    assert is_free(port)
    site.svc("up")
    assert site.chat().ok


def test_a_killed_instance_is_restarted_and_its_child_ends(site):
    site.mock("family", "m", "--child", restart_delay=1)
    site.svc("up")
    first = {pid for pid, command in site.processes().items() if "--child" in command}
    os.kill(site.pid("family:server"), signal.SIGKILL)
    wait_until(lambda: not first & site.processes().keys(), description="the child to be gone")
    wait_until(
        lambda: site.service("family-server").get("status") == "starting", description="the registry to hear of it"
    )
    wait_until(lambda: site.routed() == {"family-server"}, timeout=20, description="it to come back")
    wait_until(
        lambda: site.supervisord.processes()["family:server"].state == "RUNNING",
        description="supervisord to believe it",
    )
    row = next(p for p in json.loads(site.svc("status", "--json")[0])["programs"] if p["name"] == "family:server")
    assert row["restarts"] == 1


def test_an_instance_that_keeps_dying_fails_after_max_restarts(site):
    site.mock("steady", "m")
    starts = site.root / "starts"
    site.mock("mortal", "m", "--exit-after", "1.5", max_restarts=2, restart_delay=1)
    toml = site.root / "config" / "mortal.toml"
    toml.write_text(
        toml.read_text()
        .replace('command = "svc mock"', 'command = "sh"')
        .replace("args = [", f"args = ['-c', 'echo >> {starts}; exec svc mock \"$@\"', 'sh', ")
    )
    site.svc("up", status=None)
    wait_until(lambda: site.supervisord.processes()["mortal:server"].state == "FATAL", timeout=40, description="FATAL")
    assert len(starts.read_text().splitlines()) == 3, "the first start and max_restarts more"
    wait_until(
        lambda: site.service("mortal-server").get("status") == "failed", description="the registry to say failed"
    )
    wait_until(lambda: site.routed() == {"steady-server"}, description="the router to have dropped it")
    status = json.loads(site.svc("status", "--json", status=1)[0])
    row = next(row for row in status["programs"] if row["name"] == "mortal:server")
    assert (row["state"], row["restarts"], row["max_restarts"], row["health"]) == ("FATAL", 2, 2, "failed")
    assert any(problem.startswith("mortal:server: FATAL: ") for problem in status["problems"])
    assert site.chat().ok


def test_sigterm_to_supervisord_ends_everything(site):
    site.mock("family", "m", "--child")
    site.svc("up")
    os.kill(site.pid(), signal.SIGTERM)
    wait_until(lambda: not site.processes(), timeout=40, description="every process to be gone")


def test_down_ends_a_manual_supervisord_and_a_stubborn_instance(site):
    code = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"
    site.toml("deaf", free_port_pair(), f'command = "python3"\nargs = ["-c", "{code}"]')
    site.svc("render")
    conf = site.root / "conf.d" / "deaf.conf"
    conf.write_text(conf.read_text().replace("stopwaitsecs=30", "stopwaitsecs=2"))
    site.run("supervisord", "-c", "supervisord.conf")
    wait_until(lambda: site.supervisord.processes()["deaf:server"].state == "RUNNING", description="it to run")
    site.svc("down")
    assert site.processes() == {}
