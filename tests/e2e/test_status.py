"""What `svc status` says when something is wrong: that, and nothing that is not so."""

import json
import os
import signal

import pytest

from tests.e2e.sites import http
from tests.waiting import wait_until

FAR = {"host": "127.0.0.1", "hostname": "far", "port": 9, "url": "http://127.0.0.1:9", "status": "running"}


def told(site, status=1):
    found = json.loads(site.svc("status", "--json", status=status)[0])
    return {row["name"]: (row["state"], row["health"]) for row in found["programs"]}, found["problems"]


@pytest.fixture
def one(site):
    site.mock("one", restart_delay=20, heartbeat_interval=1)
    site.svc("up")
    return site


def test_an_instance_that_was_killed_is_not_healthy_even_before_anybody_has_heard_of_it(one):
    os.kill(one.pid("one:server"), signal.SIGKILL)
    wait_until(
        lambda: one.supervisord.processes()["one:server"].state == "BACKOFF", description="supervisord to see it"
    )
    rows, problems = told(one)
    assert rows["one:server"] == ("BACKOFF", "starting")
    assert [problem.partition(": BACKOFF")[0] for problem in problems] == ["one:server"]


def test_where_all_was_killed_nothing_is_healthy(one):
    os.kill(one.pid(), signal.SIGKILL)
    wait_until(lambda: not one.processes(), timeout=20, description="every process to be gone")
    rows, problems = told(one)
    assert "healthy" not in {health for _, health in rows.values()}
    assert problems == ["supervisord does not run here; svc up starts it"]


def test_a_registry_that_is_stopped_is_the_only_problem(one):
    one.run("supervisorctl", "stop", "registry")
    rows, problems = told(one)
    assert rows["registry"] == ("STOPPED", "stopped")
    assert rows["one:server"] == ("RUNNING", "routed")
    assert problems == ["registry: STOPPED"]


def test_an_instance_elsewhere_that_the_router_should_use_is_a_problem_unless_somebody_wanted_it(one):
    far = {"name": "far-server", **FAR, "lease_seconds": 5, "metadata": {"type": "openai-api", "models": ["m"]}}
    http.post(f"{one.registry}/services", json=far, timeout=5).raise_for_status()
    wait_until(lambda: told(one, None)[1], description="its lease, or its checks, to end", interval=0.5)
    _, problems = told(one)
    assert problems == ["the router uses 1 of 2 instances; svc services list says which"]
    one.svc("drain", "far-server")
    one.svc("status")
