"""The commands of an operator inside a read-only container, as `docker exec` runs them, without Docker."""

import json
import re
import time

import pytest

from tests.waiting import wait_until

FOREIGN_LOGS = "prints these lines; in a container, run `docker logs CONTAINER`"


@pytest.fixture
def start(start_container):
    def start(**environ):
        container = start_container(read_only=True, **environ)
        container.ready()
        return container

    return start


def svc(container, *arguments, status=0):
    """Run a svc command inside; return its stdout, or its one line on stderr if it has to fail."""
    done = container.exec("svc", *arguments)
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}\n{container.out}"
    assert len(done.stderr.splitlines()) == (status == 1), done.stderr
    return done.stderr if status == 1 else done.stdout


def test_commands_in_a_healthy_read_only_container_find_nothing_to_do(site, start):
    site.mock("one")
    site.mock("two")
    container = start()
    pid = site.pid("one:server")
    assert svc(container, "plan") == "Nothing to do: what runs is what the files say.\n"
    assert svc(container, "apply") == "nothing to do: what runs is what the files say\n"
    wait_until(lambda: "all is well" in container.exec("svc", "doctor").stdout, timeout=60, description="all is well")
    assert json.loads(svc(container, "doctor", "--json"))["ok"]
    assert "conf.d: stale" in svc(container, "render", "--check", status=1), "as in a checkout: nothing is committed"
    assert "ready" in svc(container, "up")
    assert site.pid("one:server") == pid

    assert FOREIGN_LOGS in svc(container, "logs", "one", status=1)
    assert FOREIGN_LOGS in svc(container, "logs", status=1)
    assert "no such program" in svc(container, "logs", "tow", status=1)
    svc(container, "rollout", "restart", "one")
    assert site.pid("one:server") != pid
    assert not (site.root / "conf.d").exists()

    begin = time.monotonic()
    assert container.stop() == 0, container.out
    [seconds] = re.findall(r"^router +stopped \((.+) s\)", container.out, re.M)
    assert float(seconds) <= time.monotonic() - begin, "counted from the begin of the stop"


@pytest.mark.long
def test_apply_in_a_container_changes_only_what_differs(site, start):
    site.mock("one")
    port = site.mock("two")
    container = start()
    pids = {name: site.pid(name) for name in ("router", "one:server", "two:server")}
    toml = site.root / "config" / "one.toml"
    toml.write_text(f'{toml.read_text()}[metadata]\nrack = "7"\n')
    site.toml("two", port, f'command = "svc mock"\nargs = ["--name", "two", "--port", "{port}", "--models", "m,n"]')
    site.mock("three")

    plan = svc(container, "plan", status=2)
    assert "~ one: changed: one:babysitter restarts to read its TOML again; one:server runs on" in plan
    assert "+ three: added" in plan
    assert "var/conf.d/three.conf: new" in plan
    findings = json.loads(svc(container, "doctor", "--json"))["findings"]
    assert {"files.stale", "files.pending"} <= {finding["key"] for finding in findings}
    assert any("config/one.toml" in finding["why"] and "../" not in finding["why"] for finding in findings)

    svc(container, "apply", "config/three.toml")
    assert site.routed() == {"one-server", "two-server", "three-server"}
    assert site.pid("two:server") == pids["two:server"], "it was not named"
    svc(container, "apply")
    assert "Nothing to do" in svc(container, "plan")
    assert site.service("one-server")["metadata"]["rack"] == "7"
    assert "n" in site.service("two-server")["metadata"]["models"]
    assert {name: site.pid(name) == pid for name, pid in pids.items()} == {
        "router": True,
        "one:server": True,
        "two:server": False,
    }

    (site.root / "config" / "three.toml").unlink()
    svc(container, "apply")
    assert site.routed() == {"one-server", "two-server"}
    assert not (site.root / "conf.d").exists()


@pytest.mark.long
def test_a_plan_takes_the_variables_of_the_container_not_of_the_command(site, start):
    site.mock("one")
    container = start(ROUTER_HEALTH_TIMEOUT="7")
    del container.environ["ROUTER_HEALTH_TIMEOUT"], container.environ["SVC_DEFAULT_HOST"]
    assert "Nothing to do" in svc(container, "plan")
    wait_until(lambda: "all is well" in container.exec("svc", "doctor").stdout, timeout=60, description="all is well")


@pytest.mark.long
def test_a_failed_program_is_explained_without_a_log_file(site, start):
    site.mock("one")
    container = start()
    site.mock("bad", "m", "--exit-after", "0.1", "--exit-code", "7", restart_delay=1000)
    line = container.exec("svc", "up").stderr
    assert line.startswith("svc: bad:server: BACKOFF: ")
    assert FOREIGN_LOGS in line


@pytest.mark.long
def test_what_was_started_by_itself_stays_and_is_updated(site, start_container):
    site.mock("one")
    site.mock("two")
    container = start_container(read_only=True, LAUNCH_COMPONENTS="none")
    wait_until(site.control_answers, timeout=60, description="supervisord")
    assert "Nothing to do" in svc(container, "plan")
    for arguments in (["registry"], ["router"], ["babysitter", "config/one.toml"]):
        svc(container, "up", "--only", *arguments)
    assert "Nothing to do" in svc(container, "plan")
    wait_until(lambda: "all is well" in container.exec("svc", "doctor").stdout, timeout=60, description="all is well")
    settings = site.root / "config" / "svc.toml"
    settings.write_text(settings.read_text().replace("[router]", "[router]\nmax_errors = 7"))
    plan = svc(container, "plan", status=2)
    assert "~ router: changed" in plan
    assert "two" not in plan
    svc(container, "apply")
    assert "Nothing to do" in svc(container, "plan")
    assert site.routed() == {"one-server"}
    assert container.stop() == 0
