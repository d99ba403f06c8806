"""The original's three programs with its flags, without a site: `python -m` stands for the console scripts."""

import configparser
import importlib
import sys

import pytest

from tests.e2e.sites import ROOT, http
from tests.waiting import free_port_pair, is_free, wait_until


@pytest.fixture
def start(site):
    """Start a program of the original with a command line; end it after the test, and expect the exit code 0."""
    started = []

    def start(program, *arguments, **environ):
        module = f"svc.cli.original.{program.replace('-', '_')}"
        out = (site.root / f"{program}.log").open("w+")
        started.append(site.start(sys.executable, "-m", module, *arguments, out=out, **environ))
        return started[-1]

    yield start
    for process in reversed(started):
        process.terminate()
    codes = [process.wait(60) for process in started]
    assert set(codes) <= {0}
    assert site.processes() == {}


def test_a_service_without_a_toml_is_routed_and_deregistered_at_its_end(site, start):
    port = free_port_pair()
    start("infini-registry", "--port", str(site.registry_port), "--health-interval", "1", "--cleanup-interval", "60")
    start(
        *("infini-router", "--router-port", str(site.router_port), "--registry-url", site.registry),
        *("--health-interval", "1", "--max-errors", "3", "--service-removal-grace-period", "60"),
    )
    babysitter = start(
        *("infini-babysitter", "--port", str(port), "--service-type", "command", "--command", "svc mock"),
        *("--args", f"--name x --port {port} --models m", "--registry-url", site.registry, "--env", "A=1", "B=2"),
        *("--max-restarts", "3", "--restart-delay", "1", "--heartbeat-interval", "5"),
    )
    wait_until(site.answers, timeout=60, description="the router to have the instance")
    assert site.chat().ok
    info = http.get(f"http://127.0.0.1:{port + 1}/info", timeout=10).json()
    assert (info["name"], info["service_type"], info["max_restarts"]) == (f"command-{port}", "command", 3)
    babysitter.terminate()
    assert babysitter.wait(60) == 0
    assert site.service(f"command-{port}") == site.service(f"command-{port}-server") == {}
    assert is_free(port)


def test_the_console_scripts_are_these_programs():
    config = configparser.ConfigParser(comment_prefixes="#")
    config.read(ROOT / "setup.cfg")
    lines = filter(None, config["options.entry_points"]["console_scripts"].splitlines())
    scripts = dict(line.split(" = ") for line in lines)
    assert scripts.keys() == {"svc", "infini-registry", "infini-router", "infini-babysitter"}
    for target in scripts.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
