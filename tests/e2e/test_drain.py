"""`svc drain` in a site: what the operator said holds, whatever restarts."""

import time

import pytest

from tests.waiting import wait_until

BOTH = {"one-server", "two-server"}


@pytest.mark.long
def test_drained_by_hand_stays_drained_through_heartbeats_and_every_restart(site):
    site.mock("one", heartbeat_interval=1)
    site.mock("two", heartbeat_interval=1)
    site.svc("up")
    out, _ = site.svc("drain", "one", "--wait")
    assert out.startswith("one-server is drained")
    assert site.routed() == {"two-server"}, "the router has heard of it when --wait is over"

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


def test_what_runs_comes_back_when_it_is_removed_and_drained_if_it_was(site):
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
def test_in_a_site_where_nothing_runs_that_is_told_with_the_cure(site, verb):
    site.mock("one")
    line = site.refused(verb, "one")
    assert f"127.0.0.1:{site.registry_port}" in line
    assert line.endswith("give its address with --registry-url")


def _is_back(site, since: float) -> bool:
    told = site.service("one-server")
    return bool(told) and told["status"] == "running" and told["last_heartbeat"] > since
