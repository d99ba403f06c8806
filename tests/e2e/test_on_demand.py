"""Instances on demand as an operator handles them: start, wake, change, sleep; one GPU, simulated, for two of them."""

import json
import os

import pytest

from tests.waiting import wait_until

pytestmark = pytest.mark.long
LOAD = ["--gpu-memory", "50GB", "--load-time", "1"]


@pytest.fixture
def environ(site):
    """Two instances that do not fit beside each other, and the variables of the GPU."""
    gpus = site.root / "var" / "gpus"
    site.svc("mock-gpus", str(gpus), "--gpus", "1", "--memory", "80GB")
    for name, model in (("one", "a"), ("two", "b")):
        site.mock(name, model, *LOAD, on_demand="true", min_awake=0, heartbeat_interval=1)
        path = site.root / "config" / f"{name}.toml"
        needs = '[metadata]\nmodels = ["' + model + '"]\n[resources]\ngpus = [0]\ngpu_memory = "50GB"\n'
        path.write_text(path.read_text() + needs)
    return {"SVC_MOCK_GPUS": str(gpus / "gpus.json"), "PATH": f"{gpus}:{os.environ['PATH']}"}


def health(site):
    programs = json.loads(site.svc("status", "--json")[0])["programs"]
    return {p["name"].partition(":")[0]: p["health"] for p in programs if p["name"].endswith(":server")}


def edit(site, name, old, new):
    path = site.root / "config" / f"{name}.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_an_operator_wakes_changes_and_puts_to_sleep(site, environ):
    out, _ = site.svc("up", **environ)
    assert "asleep: a request wakes it" in out
    assert health(site) == {"one": "asleep", "two": "asleep"}
    assert "all is well" in site.svc("doctor")[0]
    assert site.svc("health")[0].startswith("well: ")
    assert "asleep: a request wakes it" in site.svc("up", **environ)[0], "a second one wakes nothing"

    out, _ = site.svc("wake", "a", "--wait", "--timeout", "60s")
    assert "a: wakes on one" in out
    assert "awake on one" in out
    assert site.chat("a").ok
    reason = site.refused("wake", "two", "--wait", "--timeout", "3s")
    assert "two: not awake after 3 s: asleep: needs 50 GB on 1 GPU" in reason
    assert "held by one (kept awake)" in reason

    for name in ("one", "two"):
        edit(site, name, "'--load-time', '1'", "'--load-time', '0.5'")
    effects = {part["name"]: part["effect"] for part in json.loads(site.svc("plan", "--json", status=2)[0])["parts"]}
    assert effects["one"].startswith("one:server restarts")
    assert effects["two"].startswith("two:server stays asleep, two:babysitter restarts")
    assert "put it to sleep first (`svc sleep one --wait`)" in site.refused("apply")
    site.svc("sleep", "one", "two", "--wait", "--timeout", "60s")
    site.svc("apply")
    assert health(site) == {"one": "asleep", "two": "asleep"}
    assert site.svc("plan")[0] == "Nothing to do: what runs is what the files say.\n"

    assert site.chat("b").ok, "a request wakes it, with the new configuration"
    assert "--load-time 0.5" in site.processes()[site.pid("two:server")]
    assert site.chat("a").ok
    wait_until(lambda: health(site) == {"one": "healthy", "two": "asleep"}, description="two has made room")
    site.svc("rollout", "restart", "two")
    assert health(site)["two"] == "asleep"
    wait_until(lambda: site.service("two-server").get("status") == "asleep", description="it is registered again")


def test_an_instance_on_demand_is_awake_again_after_an_apply(site, environ):
    site.svc("up", **environ)
    assert site.chat("a").ok
    edit(site, "one", "'--load-time', '1'", "'--load-time', '0.5'")
    out, _ = site.svc("apply", "--allow-downtime")
    assert "back" in out
    # supervisord calls it RUNNING a second after its start, and it is ready earlier
    wait_until(lambda: health(site) == {"one": "healthy", "two": "asleep"}, description="one is awake")
    assert "--load-time 0.5" in site.processes()[site.pid("one:server")]
