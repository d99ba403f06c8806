"""The babysitter under a real supervisord: what it reports of each event of its instance."""

import os
import signal
import sys
from pathlib import Path

import requests

from svc.supervision.launch import is_taken
from tests.integration.babysitter.processes import BabysitterClient
from tests.processes import members
from tests.waiting import wait_until

SLOW_TO_STOP = Path(__file__).with_name("slow_to_stop.py")
KILLED = "Killed by SIGKILL"
MOCK = 'type = "mock"\nmodels = ["a"]\n'


def test_a_crash_and_its_restart_are_reported(site, registry, port):
    running_site, client = site(MOCK, restart_delay=2), BabysitterClient(port)
    registry.await_status("q-server", "running")
    assert registry.client.get("q-server")["metadata"]["restarts"] == 0
    last = registry.client.events()[1]
    pid = client.get("/info").json()["infinilm_server_pid"]
    assert pid == running_site.supervisord.process("q:server").pid
    os.kill(pid, signal.SIGKILL)
    registry.await_status("q-server", "starting")
    (event,) = wait_until(
        lambda: registry.client.events(last, only={"kind": "exited"})[0], description="the event of its end"
    )
    assert (event["level"], event["message"]) == ("warning", KILLED)
    assert client.health() == 503
    registry.await_status("q-server", "running")
    wait_until(lambda: client.health() == 200, description="health is back")
    info = client.get("/info").json()
    assert (info["restart_count"], info["max_restarts"], info["state"]) == (1, 5, "running")
    assert info["infinilm_server_pid"] not in (pid, None)
    metadata = registry.client.get("q-server")["metadata"]
    assert (metadata["restarts"], metadata["restart_reason"]) == (1, info["restart_reason"])
    (event,) = wait_until(
        lambda: registry.client.events(last, only={"kind": "restarted"})[0],
        description="the event of its restart",
    )
    assert (event["source"], event["level"], event["message"]) == ("babysitter", "warning", info["restart_reason"])


def test_a_manual_stop_drains_and_stops_and_a_start_runs_again(site, registry, port):
    running_site = site(f'type = "command"\ncommand = "{sys.executable}"\nargs = ["{SLOW_TO_STOP}", "{port}"]')
    registry.await_status("q-server", "running")
    running_site.supervisord.stop("q:server", wait=False)
    registry.await_status("q-server", "draining")
    registry.await_status("q-server", "stopped")
    assert BabysitterClient(port).health() == 503
    assert registry.status("q") == "running"
    running_site.supervisord.start("q:server")
    registry.await_status("q-server", "running")


def test_an_instance_that_keeps_dying_fails_until_a_manual_start(site, registry, port):
    running_site = site(MOCK + 'args = ["--exit-after", "2"]', max_restarts=1, restart_delay=0)
    registry.await_status("q-server", "failed", timeout=30)
    info = BabysitterClient(port).get("/info").json()
    assert (info["state"], info["restart_count"]) == ("failed", 1)
    (event,) = registry.client.events(only={"kind": "failed"})[0]
    assert event["message"] == info["restart_reason"] != ""
    running_site.supervisord.start("q:server")
    registry.await_status("q-server", "running")


def test_an_instance_whose_command_does_not_exist_fails(site, registry):
    site('type = "command"\ncommand = "no-such-command-anywhere"', max_restarts=1, restart_delay=0)
    registry.await_status("q-server", "failed")


def test_a_shutdown_during_a_restart_is_not_reported_as_failed(site, registry):
    running_site = site(MOCK, restart_delay=60)
    registry.await_status("q-server", "running")
    os.kill(running_site.supervisord.process("q:server").pid, signal.SIGKILL)
    registry.await_status("q-server", "starting")
    assert running_site.supervisord.process("q:server").state == "BACKOFF"
    assert running_site.running.end() == 0
    assert registry.status("q-server") is None
    assert registry.status("q") is None
    assert "failed" not in running_site.log("babysitter_q")


def test_stopping_the_group_removes_both_registrations(site, registry):
    running_site = site(MOCK)
    registry.await_status("q-server", "running")
    running_site.supervisord.stop("q:*")
    assert registry.status("q-server") is None
    assert registry.status("q") is None


def test_restarting_the_babysitter_alone_leaves_the_instance_running(site, registry, port):
    running_site = site(MOCK)
    registry.await_status("q-server", "running")
    pid = running_site.supervisord.process("q:server").pid
    running_site.supervisord.restart("q:babysitter")
    registry.await_status("q-server", "running")
    assert running_site.supervisord.process("q:server").pid == pid
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).ok


def test_a_handover_keeps_both_registrations_running(site, registry, port):
    running_site, client = site(MOCK), BabysitterClient(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: registry.status("q") == "running")
    before, instance = (
        running_site.supervisord.process("q:babysitter").pid,
        running_site.supervisord.process("q:server").pid,
    )
    loaded = client.get("/info").json()["config"]
    toml = running_site.root / "config" / "q.toml"
    toml.write_text(toml.read_text() + '\n[metadata]\ncache_type = "static"\n')
    revision = registry.client.list_services().index
    running_site.supervisord.replace_babysitter("q:babysitter")
    statuses = []

    def renewed():
        service = registry.client.get("q-server")  # raises where it is not registered
        statuses.append((service["status"], registry.client.get("q")["status"]))
        return service["metadata"].get("cache_type") == "static"

    wait_until(renewed, timeout=30, description="the new babysitter has registered its TOML")
    assert set(statuses) == {("running", "running")}
    assert registry.client.list_services().index > revision
    assert "deregistered" not in running_site.log("babysitter_q")
    process = running_site.supervisord.process("q:babysitter")
    assert process.pid != before
    assert running_site.supervisord.process("q:server").pid == instance
    assert running_site.supervisord.restarts()["q:babysitter"].restarts == 0, "a requested restart does not count"
    wait_until(lambda: client.health() == 200)
    assert client.get("/info").json()["config"] != loaded


def test_killing_supervisord_ends_the_instance_and_its_registrations(site, registry, port):
    running_site = site(MOCK + 'args = ["--child"]')
    registry.await_status("q-server", "running")
    running_site.running.process.kill()
    running_site.running.process.wait(10)
    wait_until(lambda: not members(running_site.running.process.pid), description="nothing is left")
    wait_until(lambda: not is_taken(port), description="the port is free")
    registry.await_status("q-server", None)
    registry.await_status("q", None)
