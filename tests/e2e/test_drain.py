"""`svc drain` in a site: an operator's drain mark outlives every restart."""

import time

import pytest

from tests.waiting import wait_until

BOTH = {"one-server", "two-server"}


@pytest.mark.long
def test_a_drained_instance_stays_drained_through_every_restart(site):
    site.mock("one", heartbeat_interval=1)
    site.mock("two", heartbeat_interval=1)
    site.svc("up")
    out, _ = site.svc("drain", "one", "--wait")
    assert out.startswith("one-server is drained")
    assert site.routed() == {"two-server"}, "the router knows of the drain when --wait is over"

    for program in ("one:babysitter", "one:server", "registry"):
        site.run("supervisorctl", "restart", program)
        now = time.time()
        wait_until(
            lambda now=now: _is_back(site, now), timeout=15, description=f"a heartbeat after {program} restarted"
        )
        assert site.service("one-server")["drained"], program
        assert site.routed() == {"two-server"}, program
    assert "drained" in site.svc("status", status=1)[0]

    site.svc("undrain", "one")
    wait_until(lambda: site.routed() == BOTH, timeout=2)
    assert site.chat().ok


def test_a_removed_instance_that_runs_comes_back_with_its_drain_mark(site):
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "svc.toml"
    toml.write_text(toml.read_text().replace("[registry]", '[registry]\ntoken_file = "config/token"'))
    (site.root / "config" / "token").write_text("secret-word")
    site.svc("up")
    site.svc("drain", "one")
    site.svc("remove", "one-server")
    wait_until(lambda: site.service("one-server").get("drained"), timeout=10, description="it to register again")
    assert site.routed() == set()


@pytest.mark.parametrize("verb", ["drain", "undrain", "remove"])
def test_without_a_registry_the_error_names_the_cure(site, verb):
    site.mock("one")
    line = site.refused(verb, "one")
    assert f"127.0.0.1:{site.registry_port}" in line
    assert line.endswith("give its address with --registry-url")


def _is_back(site, since: float) -> bool:
    service = site.service("one-server")
    return bool(service) and service["status"] == "running" and service["last_heartbeat"] > since
