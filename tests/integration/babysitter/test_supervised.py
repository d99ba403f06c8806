"""The babysitter under a real supervisord: what it tells of each thing that may happen to the instance."""

import os
import signal
import sys
from pathlib import Path

import requests

from svc.supervision.launch import taken
from tests.integration.babysitter.conftest import Babysat
from tests.processes import members
from tests.waiting import wait_until

SLOW_TO_STOP = Path(__file__).with_name("slow_to_stop.py")
KILLED = "Killed by SIGKILL"
MOCK = 'type = "mock"\nmodels = ["a"]\n'


def test_a_crash_and_its_restart(site, registry, port):
    it, told = site(MOCK, restart_delay=2), Babysat(port)
    registry.await_status("q-server", "running")
    assert registry.client.get("q-server")["metadata"]["restarts"] == 0
    last = registry.client.events()[1]
    pid = told.get("/info").json()["infinilm_server_pid"]
    assert pid == it.supervisord.process("q:server").pid
    os.kill(pid, signal.SIGKILL)
    registry.await_status("q-server", "starting")
    (event,) = wait_until(
        lambda: registry.client.events(last, only={"kind": "exited"})[0], description="its end to be told"
    )
    assert (event["level"], event["message"]) == ("warning", KILLED)
    assert told.health() == 503
    registry.await_status("q-server", "running")
    wait_until(lambda: told.health() == 200, description="health is back")
    info = told.get("/info").json()
    assert (info["restart_count"], info["max_restarts"], info["state"]) == (1, 5, "running")
    assert info["infinilm_server_pid"] not in (pid, None)
    metadata = registry.client.get("q-server")["metadata"]
    assert (metadata["restarts"], metadata["restart_reason"]) == (1, info["restart_reason"])
    (event,) = wait_until(
        lambda: registry.client.events(last, only={"kind": "restarted"})[0],
        description="the restart to be told as an event",
    )
    assert (event["source"], event["level"], event["message"]) == ("babysitter", "warning", info["restart_reason"])


def test_a_stop_by_hand_drains_stops_and_a_start_brings_it_back(site, registry, port):
    it = site(f'type = "command"\ncommand = "{sys.executable}"\nargs = ["{SLOW_TO_STOP}", "{port}"]')
    registry.await_status("q-server", "running")
    it.supervisord.stop("q:server", wait=False)
    registry.await_status("q-server", "draining")
    registry.await_status("q-server", "stopped")
    assert Babysat(port).health() == 503
    assert registry.status("q") == "running"
    it.supervisord.start("q:server")
    registry.await_status("q-server", "running")


def test_an_instance_that_keeps_dying_is_told_as_failed_and_a_start_by_hand_begins_anew(site, registry, port):
    it = site(MOCK + 'args = ["--exit-after", "2"]', max_restarts=1, restart_delay=0)
    registry.await_status("q-server", "failed", timeout=30)
    info = Babysat(port).get("/info").json()
    assert (info["state"], info["restart_count"]) == ("failed", 1)
    (event,) = registry.client.events(only={"kind": "failed"})[0]
    assert event["message"] == info["restart_reason"] != ""
    it.supervisord.start("q:server")
    registry.await_status("q-server", "running")


def test_a_command_that_does_not_exist_ends_as_failed(site, registry):
    site('type = "command"\ncommand = "no-such-command-anywhere"', max_restarts=1, restart_delay=0)
    registry.await_status("q-server", "failed")


def test_a_shutdown_in_the_middle_of_a_restart_is_not_told_as_failed(site, registry):
    it = site(MOCK, restart_delay=60)
    registry.await_status("q-server", "running")
    os.kill(it.supervisord.process("q:server").pid, signal.SIGKILL)
    registry.await_status("q-server", "starting")
    assert it.supervisord.process("q:server").state == "BACKOFF"
    assert it.running.end() == 0
    assert registry.status("q-server") is None
    assert registry.status("q") is None
    assert "failed" not in it.log("babysitter_q")


def test_stopping_the_group_takes_both_registrations_away(site, registry):
    it = site(MOCK)
    registry.await_status("q-server", "running")
    it.supervisord.stop("q:*")
    assert registry.status("q-server") is None
    assert registry.status("q") is None


def test_restarting_the_babysitter_alone_leaves_the_instance_running(site, registry, port):
    it = site(MOCK)
    registry.await_status("q-server", "running")
    pid = it.supervisord.process("q:server").pid
    it.supervisord.restart("q:babysitter")
    registry.await_status("q-server", "running")
    assert it.supervisord.process("q:server").pid == pid
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=10).ok


def test_another_takes_over_and_the_registry_never_misses_the_instance(site, registry, port):
    it, told = site(MOCK), Babysat(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: registry.status("q") == "running")
    before, instance = it.supervisord.process("q:babysitter").pid, it.supervisord.process("q:server").pid
    loaded = told.get("/info").json()["config"]
    toml = it.root / "config" / "q.toml"
    toml.write_text(toml.read_text() + '\n[metadata]\ncache_type = "static"\n')
    revision = registry.client.list_services().index
    it.supervisord.hand_over("q:babysitter")
    seen = []

    def renewed():
        found = registry.client.get("q-server")  # raises where it is not registered
        seen.append((found["status"], registry.client.get("q")["status"]))
        return found["metadata"].get("cache_type") == "static"

    wait_until(renewed, timeout=30, description="the new one has told what it has read")
    assert set(seen) == {("running", "running")}
    assert registry.client.list_services().index > revision
    assert "deregistered" not in it.log("babysitter_q")
    process = it.supervisord.process("q:babysitter")
    assert process.pid != before
    assert it.supervisord.process("q:server").pid == instance
    assert it.supervisord.restarts()["q:babysitter"].restarts == 0, "it was asked for"
    wait_until(lambda: told.health() == 200)
    assert told.get("/info").json()["config"] != loaded


def test_kill_9_of_supervisord_ends_the_instance_with_its_children_and_both_registrations(site, registry, port):
    it = site(MOCK + 'args = ["--child"]')
    registry.await_status("q-server", "running")
    it.running.process.kill()
    it.running.process.wait(10)
    wait_until(lambda: not members(it.running.process.pid), description="nothing is left")
    wait_until(lambda: not taken(port), description="the port is free")
    registry.await_status("q-server", None)
    registry.await_status("q", None)
