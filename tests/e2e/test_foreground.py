"""`svc up --foreground`, as a container runs it, without Docker."""

import os
import signal

import pytest

from tests.waiting import wait_until


@pytest.fixture
def foreground(site):
    """Start `svc up --foreground`, and end it after the test."""
    started = []

    def start(**environ):
        out = (site.root / "stdout").open("w+")
        process = site.start("svc", "up", "--foreground", out=out, **environ)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


@pytest.fixture
def out(site):
    return lambda: (site.root / "stdout").read_text()


@pytest.mark.long
def test_a_failed_instance_is_reported_and_the_rest_runs_on(site, foreground, out):
    site.mock("good")
    site.mock("bad", "m", "--exit-after", "0.1", "--exit-code", "7", restart_delay=1000)
    process = foreground()
    wait_until(lambda: "bad:server: " in out(), timeout=40, description="the report of the failure")
    wait_until(lambda: "good   " in out(), timeout=40, description="the other to be ready")
    assert site.chat().ok
    line = site.refused("health")
    assert "bad: no 200 from " in line
    assert "good" not in line
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert site.processes() == {}


def test_a_registry_that_cannot_start_ends_it(site, foreground, out):
    process = foreground(REGISTRY_TOKEN_FILE=str(site.root / "no-token"))
    assert process.wait(60) == 1
    assert "no-token: cannot read" in out()
    assert out().splitlines()[-1].startswith("svc: registry: ")
    assert site.processes() == {}


@pytest.mark.long
def test_without_a_writable_logs_directory_all_logs_go_to_stdout(site, foreground, out):
    port = site.mock("one")
    (site.root / "logs").write_text("in the way")
    process = foreground()
    wait_until(lambda: "all is ready" in out(), timeout=40, description="all is ready")
    assert "logs: user " in out()
    assert f"mock one serves m at http://127.0.0.1:{port}" in out()
    assert "svc.registry.api: one registered" in out()
    assert "entered RUNNING state" in out()
    site.mock("two")
    site.svc("plan", status=2)
    site.svc("up")  # beside it, as with docker exec
    assert site.routed() == {"one-server", "two-server"}
    assert site.svc("apply")[0].startswith("nothing to do")
    process.terminate()
    assert process.wait(60) == 0


@pytest.mark.long
def test_json_lines_stay_json(site, foreground, out):
    process = foreground(SVC_LOG_FORMAT="json", LAUNCH_COMPONENTS="registry")
    wait_until(lambda: "all is ready" in out(), timeout=40, description="all is ready")
    process.terminate()
    assert process.wait(60) == 0
    assert any(line.startswith('{"') for line in out().splitlines()), out()


@pytest.mark.long
def test_down_ends_it_with_0_and_a_killed_supervisord_with_1(site, foreground, out):
    process = foreground(LAUNCH_COMPONENTS="registry")
    wait_until(lambda: "all is ready" in out(), timeout=40, description="all is ready")
    assert "already" in site.refused("up", "--foreground")
    site.svc("down")
    assert process.wait(60) == 0

    process = foreground(LAUNCH_COMPONENTS="registry")
    wait_until(lambda: "all is ready" in out(), timeout=40, description="all is ready")
    os.kill(site.pid(), signal.SIGKILL)
    assert process.wait(60) == 1
    assert "supervisord ended with code -9" in out().splitlines()[-1]


@pytest.mark.long
def test_no_process_is_left_when_it_is_killed(site, foreground, out):
    site.mock("one")
    process = foreground()
    wait_until(lambda: "all is ready" in out(), timeout=40, description="all is ready")
    process.kill()
    process.wait(10)
    wait_until(lambda: not site.processes(), timeout=60, description="everything to end")
