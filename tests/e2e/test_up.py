"""`svc up`, `svc status` and `svc down` on a site of mocks, and everything that can prevent a start."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sites import BIN, SharedSite, Site, clean_environ, http
from tests.waiting import free_port_pair, wait_until

COMMAND_INTERVAL_SECONDS = 0.4  # between two runs of a command whose output is waited for


def start_one(site: Site) -> None:
    site.mock("one")
    site.svc("up")


@pytest.fixture(scope="module")
def shared_one() -> Iterator[SharedSite]:
    shared = SharedSite(start_one)
    yield shared
    shared.end()


@pytest.fixture
def running(shared_one: SharedSite) -> Iterator[Site]:
    """Yield a site with one instance; the tests that leave it as it was share it."""
    yield shared_one.open()
    shared_one.end_if_changed()


def test_up_waits_until_all_is_ready_and_down_leaves_nothing(site):
    port = site.mock("one", "m1,m2")
    began = time.monotonic()
    out, _ = site.svc("up")
    first_seconds = time.monotonic() - began
    first, second, third = (line.split()[0] for line in out.splitlines()[:3])
    assert ({first, second}, third) == ({"registry", "router"}, "one")
    assert site.chat("m2").json()["choices"][0]["message"]["content"]  # no waiting: up has waited
    assert http.get(f"http://127.0.0.1:{port + 1}/health").status_code == 200

    began = time.monotonic()
    site.svc("up")
    assert time.monotonic() - began < max(2, first_seconds / 2), "a second up of a site that runs is quick"

    first_down = site.start("svc", "down")
    site.svc("down")
    first_down.communicate(timeout=30)
    assert first_down.returncode == 0, "both of two downs at once succeed"
    assert site.processes() == {}
    assert not (site.root / "var" / "supervisor.sock").exists()


def test_an_empty_directory_is_refused_and_stays_empty(site):
    (site.root / "config" / "svc.toml").unlink()
    (site.root / "config").rmdir()
    for flags in ((), ("--foreground",)):
        assert "no site" in site.refused("up", *flags)
    assert list(site.root.iterdir()) == []


def test_down_succeeds_where_nothing_runs(site):
    site.mock("one")
    assert "nothing runs here" in site.svc("down")[0]
    (site.root / "var").mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(site.root / "var" / "supervisor.sock"))
    assert "nothing runs here" in site.svc("down")[0]
    site.svc("up")


def test_up_adds_and_changes_instances_and_leaves_the_others_running(site):
    site.mock("one", "m1")
    site.mock("two", "m2")
    command = ["sh", "-c", f"umask 0007; exec {BIN}/svc up"]
    subprocess.run(command, cwd=site.root, env=clean_environ(), check=True, stdout=subprocess.DEVNULL)
    assert [umask_of(site.pid(name)) for name in ("one:server", "registry")] == ["0007", "0027"]
    before = {name: site.pid(name) for name in ("registry", "router", "one:server", "two:server")}
    site.mock("two", "changed")
    site.mock("three", "m3")
    out, _ = site.svc("up")
    assert out.splitlines()[0] == "conf.d/two.conf: overwritten"
    assert '"model": "m3"' in out, "the command at the end is for a model that was just started"
    assert f"{site.router}/ui " in out
    after = {name: site.pid(name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["two:server"]
    models = {model["id"] for model in http.get(f"{site.router}/v1/models").json()["data"]}
    assert models == {"m1", "changed", "m3"}


def status_if_healthy(site: Site) -> str:
    """Return the output of `svc status`, or an empty text if it exits with 1."""
    process = site.start("svc", "status")
    out, _ = process.communicate(timeout=30)
    return "" if process.returncode else out


def umask_of(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:"))


def test_changed_metadata_takes_effect_without_a_restart_of_the_instance(running):
    before = running.pid("one:server")
    assert "cache_type" not in running.service("one-server")["metadata"]
    toml = running.root / "config" / "one.toml"
    text = toml.read_text()
    toml.write_text(text + '[metadata]\ncache_type = "static"\n')
    os.utime(toml, (0, 0))  # as `rsync -a` and git may leave it
    running.svc("up")
    wait_until(
        lambda: running.service("one-server").get("metadata", {}).get("cache_type") == "static",
        description="the new metadata",
    )
    assert running.pid("one:server") == before
    toml.write_text(text)
    running.svc("up")
    assert running.pid("one:server") == before


def test_up_starts_what_was_stopped_by_hand(running):
    running.run("supervisorctl", "stop", "one:*", "router")
    assert "one:server: STOPPED" in running.svc("status", status=1)[0]
    running.svc("up")
    running.svc("status")


def test_status_is_a_table_of_80_columns_or_the_same_as_json(site):
    long = "an-instance-with-a-rather-long-name-of-its-own"
    port = site.mock(long, "m1,m2", max_restarts=7)
    site.svc("up")
    out, _ = site.svc("status", COLUMNS="80")
    assert max(map(len, out.splitlines())) <= 80
    assert "m1, m2" in out
    out, _ = site.svc("status")
    assert f"localhost:{port}" in next(row for row in out.splitlines() if row.startswith(f"{long}:server"))
    report = json.loads(site.svc("status", "--json")[0])
    rows = {row["name"]: row for row in report["programs"]}
    assert report["ok"]
    assert list(rows) == ["registry", "router", f"{long}:server", f"{long}:babysitter"]
    server = rows[f"{long}:server"]
    assert server == {
        "name": f"{long}:server",
        "state": "RUNNING",
        "pid": site.pid(f"{long}:server"),
        "uptime": server["uptime"],
        "restarts": 0,
        "max_restarts": 7,
        "health": "healthy",
        "models": ["m1", "m2"],
        "address": f"localhost:{port}",
        "ok": True,
        "reason": "",
    }


def test_status_names_the_program_that_is_down(site):
    site.mock("one")
    site.svc("render")
    assert "supervisord does not run" in site.svc("status", status=1)[0]
    site.svc("up")
    for program in ("registry", "router"):
        site.run("supervisorctl", "stop", program)
        assert f"{program}: STOPPED" in site.svc("status", status=1)[0].splitlines()
        site.run("supervisorctl", "start", program)
    wait_until(
        lambda: json.loads(site.svc("status", "--json", status=None)[0])["ok"],
        description="all to be well again",
        interval=COMMAND_INTERVAL_SECONDS,
    )


def test_ctrl_c_stops_what_this_up_started(site):
    site.mock("slow", "m", "--loading", "60")
    process = site.start("svc", "up")
    wait_until(lambda: site.processes() and (site.root / "var" / "supervisor.sock").exists(), description="supervisord")
    wait_until(lambda: len(site.processes()) > 5, description="the programs to start")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert site.processes() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_nothing_that_ran_before_this_up(running, number):
    supervisord = running.pid()
    running.mock("slow", "m", "--loading", "60")
    process = running.start("svc", "up")
    wait_until(lambda: "slow:server" in running.supervisord.processes(), description="the update")
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert running.pid() == supervisord
    assert running.chat().ok
    (running.root / "config" / "slow.toml").unlink()
    running.svc("up")


@pytest.mark.long
def test_a_program_of_another_file_runs_as_well(site):
    site.mock("one")
    site.svc("render")
    (site.root / "conf.d" / "mine.conf").write_text("[program:mine]\ncommand=sleep 1000\n")
    out, _ = site.svc("up")
    assert "conf.d/mine.conf: runs as well" in out
    assert "mine" in site.svc("status")[0]


# A start that fails prints one clear line, and leaves everything as it was.


def test_a_taken_port_is_reported_with_its_holder_before_any_start(site):
    port = site.mock("one")
    site.mock("two")
    site.svc("render")
    before = site.files()
    for taken, component in (
        (port, "one"),
        (port + 1, "one"),
        (site.router_port, "router"),
        (site.registry_port, "registry"),
    ):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", taken))
            sock.listen()
            line = site.refused("up")
        assert line.startswith(f"svc: {component}: port {taken} is taken by ")
        assert f"(pid {os.getpid()})" in line
    assert site.processes() == {}
    assert site.files() == before


def test_a_taken_router_address_does_not_end_a_running_supervisord(running):
    supervisord, before = running.pid(), running.files()
    config = running.root / "config" / "svc.toml"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        config.write_text(config.read_text().replace(str(running.router_port), str(sock.getsockname()[1])))
        assert "is taken by" in running.refused("up")
    assert running.pid() == supervisord
    assert running.chat().ok
    assert {**running.files(), "config/svc.toml": b""} == {**before, "config/svc.toml": b""}
    config.write_bytes(before["config/svc.toml"])


def test_an_invalid_file_is_reported_and_nothing_is_written_or_started(running):
    before = running.files()
    pids = running.run("supervisorctl", "pid", "all")
    for text, message in (
        ("port = ", "not TOML"),
        ('port = 8100\ncolour = "red"\n[backend]\ntype = "mock"\nmodels = ["m"]', "colour: unknown key"),
        ('port = "8100"\n[backend]\ntype = "mock"\nmodels = ["m"]', "port: "),
        ("port = 8100", "backend: missing"),
    ):
        (running.root / "config" / "wrong.toml").write_text(text)
        for command in ("check", "render", "up"):
            line = running.refused(command)
            assert "config/wrong.toml: " in line
            assert message in line
        assert {**before, "config/wrong.toml": text.encode()} == running.files()
    assert running.run("supervisorctl", "pid", "all") == pids
    (running.root / "config" / "wrong.toml").unlink()


def test_every_error_of_every_file_is_reported(site):
    (site.root / "config" / "a.toml").write_text('port = 1.5\nx = 1\n[backend]\ntype = "mock"\nmodels = ["m"]')
    (site.root / "config" / "b.toml").write_text('port = 9\n[backend]\ntype = "mok"')
    _, err = site.svc("check", status=1)
    assert len([line for line in err.splitlines() if line.startswith("svc: config/a.toml: ")]) == 2
    assert "config/b.toml: backend.type" in err


def test_a_missing_command_is_reported_with_its_log_while_the_rest_runs(site):
    site.mock("one")
    port = free_port_pair()
    site.toml("absent", port, 'command = "no-such-server --fast"')
    out, err = site.svc("up", status=1)
    assert "cannot run 'no-such-server': not found in PATH" in out
    assert "absent:server" in err
    assert "logs/server_absent.log" in err
    assert len(err.splitlines()) == 1
    wait_until(lambda: site.chat().ok, description="the other instance to serve")


@pytest.mark.parametrize("directory", ["logs", "var", "conf.d"])
def test_a_directory_that_cannot_be_written_is_named(site, directory):
    site.mock("one")
    (site.root / directory).write_text("a file in the way")
    before = site.files()
    line = site.refused("up")
    assert directory in line
    assert site.processes() == {}
    assert site.files() == before


def test_without_a_registry_up_says_so_and_serving_begins_with_it(site):
    gone = free_port_pair()
    site.mock("one")
    elsewhere = {"REGISTRY_URL": f"http://localhost:{gone}", "LAUNCH_COMPONENTS": "router,babysitter"}
    _, err = site.svc("up", "--timeout", "3", status=1, **elsewhere)
    assert "router: not ready after 3 s: waiting for its health" in err
    assert len(err.splitlines()) == 1
    registry = site.start("svc", "registry", "--port", str(gone))
    try:
        wait_until(lambda: site.chat().ok, timeout=20, description="the router to hear of the instance")
    finally:
        registry.terminate()
        registry.communicate(timeout=20)


def test_a_supervisord_that_cannot_start_reports_the_reason(site):
    site.mock("one")
    site.svc("render")
    (site.root / "conf.d" / "broken.conf").write_text("[program:broken]\ncommand=sleep %(ENV_NOT_SET_ANYWHERE)s\n")
    line = site.refused("up")
    assert "supervisord does not start" in line
    assert "broken" in line


# Which configuration runs.


def test_a_variable_of_the_shell_changes_no_byte_of_committed_files(site):
    site.mock("one")
    site.svc("render")
    before, other = site.files(), free_port_pair()
    site.svc("render", ROUTER_PORT=str(other), REGISTRY_HEALTH_INTERVAL="3")
    assert site.files() == before
    site.svc("render", "--check", ROUTER_PORT=str(other))
    out, _ = site.svc("up", ROUTER_PORT=str(other))
    assert "ROUTER_PORT" in out
    assert "var/supervisord.conf" in out
    assert http.get(f"http://127.0.0.1:{other}/health").ok
    site.run("supervisorctl", "restart", "router")
    assert site.files() == before
    wait_until(
        lambda: f"127.0.0.1:{other}" in status_if_healthy(site),
        30,
        "the router to answer again",
        COMMAND_INTERVAL_SECONDS,
    )
    site.svc("down")
    assert site.processes() == {}
    assert site.files() == before


def test_a_variable_that_changes_a_running_site_is_refused_with_the_cure(running):
    line = running.refused("up", ROUTER_PORT=str(free_port_pair()))
    assert "ROUTER_PORT" in line
    assert "svc down" in line
    running.svc("up", ROUTER_PORT=str(running.router_port))  # the same value as in the files


@pytest.mark.long
def test_babysitter_configs_and_launch_components_choose_what_runs(site):
    site.mock("one")
    site.mock("two")
    site.svc("render")
    site.svc("up", BABYSITTER_CONFIGS="config/two.toml")
    assert site.routed() == {"two-server"}
    site.svc("down")
    site.svc("up", LAUNCH_COMPONENTS="registry")
    assert "router" not in site.run("supervisorctl", "status")[0]


@pytest.mark.long
def test_single_components_make_a_whole_site_and_stop_one_by_one(site):
    site.mock("one")
    two = site.mock("two")
    site.svc("up", "--only", "registry")
    registry = site.pid("registry")
    site.svc("up", "--only", "router")
    site.svc("up", "--only", "babysitter", "config/one.toml")
    site.svc("up", "--only", "babysitter", "two.toml")
    assert site.routed() == {"one-server", "two-server"}
    assert site.pid("registry") == registry
    assert not (site.root / "conf.d").exists()

    site.svc("down", "--only", "babysitter", "--port", str(two + 1))
    wait_until(lambda: site.routed() == {"one-server"}, description="the router to know that two left")
    assert "no babysitter at port 9" in site.refused("down", "--only", "babysitter", "--port", "9")
    site.svc("down", "--only", "router")
    assert site.pid("registry") == registry
    site.svc("down", "--only", "babysitter")
    site.svc("down", "--only", "registry")
    assert site.processes() == {}, "the last one takes its supervisord along"


def test_a_toml_that_is_given_is_added_to_what_runs(running):
    extra = running.root / "extra"
    extra.mkdir()
    running.mock("two")
    (running.root / "config" / "two.toml").rename(extra / "two.toml")
    running.svc("up", "extra/two.toml")
    assert running.routed() == {"one-server", "two-server"}
    running.svc("up")
    assert running.routed() == {"one-server", "two-server"}
