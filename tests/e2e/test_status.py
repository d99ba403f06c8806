"""`svc status` reports each cause of a problem, and nothing that is not so."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.sites import SharedSite, Site, http
from tests.waiting import wait_until

FAR = {"host": "127.0.0.1", "hostname": "far", "port": 9, "url": "http://127.0.0.1:9", "status": "running"}


def status_of(site, status=1):
    """Return the state and health of each program, and the problems."""
    report = json.loads(site.svc("status", "--json", status=status)[0])
    return {row["name"]: (row["state"], row["health"]) for row in report["programs"]}, report["problems"]


def start_one(site: Site) -> None:
    site.mock("one", restart_delay=20, heartbeat_interval=1)
    site.svc("up")


@pytest.fixture(scope="module")
def shared_one() -> Iterator[SharedSite]:
    shared = SharedSite(start_one)
    yield shared
    shared.end()


@pytest.fixture
def one(shared_one: SharedSite) -> Iterator[Site]:
    """Yield a site with one instance; the tests that leave it as it was share it."""
    yield shared_one.open()
    shared_one.end_if_changed()


def test_a_registry_that_is_stopped_is_the_only_problem(one):
    one.run("supervisorctl", "stop", "registry")
    rows, problems = status_of(one)
    assert rows["registry"] == ("STOPPED", "stopped")
    assert rows["one:server"] == ("RUNNING", "routed")
    assert problems == ["registry: STOPPED"]
    one.svc("up")


def test_another_registry_can_be_asked(one):
    out, _ = one.svc("status", "--json", "--registry-url", "http://127.0.0.1:9", status=1)
    assert json.loads(out)["problems"] == ["the registry does not answer at http://127.0.0.1:9"]


def test_an_unused_instance_elsewhere_is_a_problem_unless_drained(one):
    far = {"name": "far-server", **FAR, "lease_seconds": 5, "metadata": {"type": "openai-api", "models": ["m"]}}
    http.post(f"{one.registry}/services", json=far, timeout=5).raise_for_status()
    wait_until(lambda: status_of(one, None)[1], description="its lease, or its checks, to end", interval=0.5)
    _, problems = status_of(one)
    assert problems == ["the router uses 1 of 2 instances; svc services list says which"]
    one.svc("drain", "far-server")
    one.svc("status")
    one.svc("remove", "far-server")


def test_a_killed_instance_is_unhealthy_before_the_registry_notices(one):
    os.kill(one.pid("one:server"), signal.SIGKILL)
    wait_until(
        lambda: one.supervisord.processes()["one:server"].state == "BACKOFF", description="supervisord to see it"
    )
    rows, problems = status_of(one)
    assert rows["one:server"] == ("BACKOFF", "starting")
    assert [problem.partition(": BACKOFF")[0] for problem in problems] == ["one:server"]


def test_nothing_is_healthy_after_everything_was_killed(one):
    os.kill(one.pid(), signal.SIGKILL)
    wait_until(lambda: not one.processes(), timeout=20, description="every process to be gone")
    rows, problems = status_of(one)
    assert "healthy" not in {health for _, health in rows.values()}
    assert problems == ["supervisord does not run here; svc up starts it"]
