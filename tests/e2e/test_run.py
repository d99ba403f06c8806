"""`svc run`: an instance and its babysitter without a site."""

import os
import signal

import pytest

from tests.e2e.sites import http
from tests.waiting import is_free, wait_until


@pytest.fixture
def registry(site):
    process = site.start("svc", "registry", "--port", str(site.registry_port))
    yield process
    process.terminate()
    process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_run_until_a_signal_ends_both(site, registry, number):
    port = site.mock("alone", "m", "--child")
    process = site.start("svc", "run", "--config-file", "config/alone.toml")
    wait_until(lambda: _status(port + 1) == 200, timeout=30, description="the babysitter to be healthy")
    wait_until(lambda: site.service("alone-server").get("status") == "running", description="its registration")
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "mock alone serves m" in out
    assert err == ""
    assert site.service("alone-server") == site.service("alone") == {}
    assert is_free(port)
    assert is_free(port + 1)
    assert not (site.root / "conf.d").exists()


def test_no_process_survives_when_it_is_killed(site, registry):
    port = site.mock("alone", "m", "--child")
    process = site.start("svc", "run", "--config-file", "config/alone.toml", TMPDIR=str(site.root))
    wait_until(lambda: _status(port + 1) == 200, timeout=30, description="the babysitter to be healthy")
    process.kill()
    names = ("alone", "supervisord")
    wait_until(
        lambda: not any(name in command for command in site.processes().values() for name in names),
        timeout=30,
        description="their end",
    )
    wait_until(lambda: is_free(port) and is_free(port + 1), description="the ports to be free")
    process.communicate(timeout=10)


def test_it_ends_with_the_reason_when_the_instance_is_given_up(site):
    site.mock("mortal", "m", "--exit-after", "0.2", "--exit-code", "7", max_restarts=1, restart_delay=0)
    out, err = site.svc("run", "--config-file", "config/mortal.toml", status=1, timeout=40)
    assert len(err.splitlines()) == 1
    assert "config/mortal.toml: given up: " in err
    assert site.processes() == {}


def test_an_invalid_file_is_reported_in_one_line(site):
    (site.root / "config" / "wrong.toml").write_text("port = 8100")
    assert "config/wrong.toml: backend: missing" in site.refused("run", "--config-file", "config/wrong.toml")
    assert "no-such.toml: no such file" in site.refused("run", "--config-file", "no-such.toml")


def _status(port: int) -> int:
    try:
        return http.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code
    except OSError:
        return 0
