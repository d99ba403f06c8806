"""The image, built and run by a real Docker engine, with the commands of the guide."""

import os
import re
import shutil
import time

import pytest

from tests.e2e.sites import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800), pytest.mark.xdist_group("docker")]


@pytest.fixture
def run(engine):
    """Return a function that runs `docker run -d` under a name; the containers are removed after the test."""
    names = []

    def start(*options, image="infinilm-svc"):
        names.append(f"c{len(names)}")
        engine.docker("run", "-d", "--name", names[-1], *options, image)
        return names[-1]

    yield start
    for name in names:
        engine.docker("rm", "-fv", name)


def exit_code(engine, name):
    return engine.docker("inspect", "-f", "{{.State.ExitCode}}", name)


def test_the_image_is_small_and_runs_without_root(engine):
    assert int(engine.docker("image", "inspect", "-f", "{{.Size}}", "infinilm-svc")) < 200_000_000
    assert engine.docker("run", "--rm", "infinilm-svc", "id", "-u") == "10001"
    assert engine.docker("run", "--rm", "infinilm-svc", "sh", "-c", "command -v python3 pip gcc") == "/usr/bin/python3"
    assert engine.docker("run", "--rm", "infinilm-svc", "svc", "check") == "3 instances: all right"
    for program in ("svc", "infini-registry", "infini-router", "infini-babysitter"):
        assert "version" in engine.docker("run", "--rm", "infinilm-svc", program, "--version")


def test_the_guides_python_command(engine, run):
    name = run("-p", "8000:8000", "-p", "8080:8080", "-p", "8081:8081")
    engine.wait_until_healthy(name)
    assert engine.model_of_answer() == "demo-small"
    assert engine.docker("exec", name, "cat", "/proc/1/comm") == "tini"
    assert "demo1:server" in engine.docker("exec", name, "supervisorctl", "status")
    wait_until(
        lambda: engine.docker("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy", timeout=60, interval=1
    )

    engine.docker("exec", name, "sh", "-c", "(exec sleep 0.2) & (exec sleep 0.3) & :")
    states = "cat /proc/[0-9]*/stat | grep -c ') Z ' || true"
    wait_until(lambda: engine.docker("exec", name, "sh", "-c", states) == "0", description="no zombies", interval=0.3)

    begin = time.monotonic()
    engine.docker("stop", "-t", "90", name)
    duration = time.monotonic() - begin
    assert exit_code(engine, name) == "0"
    output = engine.docker("logs", name)
    stopped = re.findall(r"^(\S+) +stopped \(", output, re.M)
    assert stopped[0] == "router"
    assert float(re.findall(r"^router +stopped \((.+) s\)", output, re.M)[0]) <= duration
    assert sorted(stopped[1:4]) == [f"demo{n}:babysitter" for n in (1, 2, 3)]
    assert "deregistered demo1-server" in output

    engine.docker("start", name)  # state is still there
    engine.wait_until_healthy(name)


def test_the_guides_rust_command_with_directories_that_docker_creates(engine, run, tmp_path):
    config, logs = tmp_path / "config", tmp_path / "logs"  # logs: Docker makes it, root's
    shutil.copytree(ROOT / "config", config)
    tmp_path.chmod(0o755)
    name = run(
        "-e",
        "REGISTRY_PORT=18000",
        "-e",
        "ROUTER_PORT=8000",
        "-e",
        "BABYSITTER_CONFIGS=config/babysitter1.toml config/babysitter2.toml",
        "-v",
        f"{config}:/app/config",
        "-v",
        f"{logs}:/app/logs",
        "-p",
        "8000:8000",
        image="infinilm-svc-rust",
    )
    engine.wait_until_healthy(name)
    assert "demo-small" in engine.curl("http://localhost:8000/models")
    assert "demo-large" not in engine.curl("http://localhost:8000/models")
    output = engine.docker("logs", name)
    assert "svc: logs: user 10001 cannot write here" in output
    assert "mock demo1 serves demo-small" in output
    assert list(logs.iterdir()) == []
    for command, text in (("plan", "Nothing to do"), ("apply", "nothing to do"), ("doctor", "all is well")):
        root = ("exec", "-u", "0", name, "svc", command)
        wait_until(lambda run=root, line=text: line in engine.docker(*run), timeout=90, description=text, interval=1)
    assert not list(logs.glob("*.log")), "root leaves the programs' output where it was"
    engine.docker("rm", "-fv", name)

    logs.chmod(0o777)
    name = run("-v", f"{config}:/app/config:ro", "-v", f"{logs}:/app/logs")
    engine.wait_until_healthy(name)
    assert {"registry_18000.log", "router_8000.log", "babysitter_demo1.log"} <= {path.name for path in logs.iterdir()}
    assert "router | " in engine.docker("logs", name)


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "12345"),
        ("--user", "12345:54321"),
        ("--read-only",),
        ("--read-only", "--user", "777:777"),
        ("-u", "0"),
    ],
)
def test_any_user_and_a_read_only_root(engine, run, options):
    name = run(
        *options, "--cap-drop=ALL", "--security-opt=no-new-privileges", "-e", "LAUNCH_COMPONENTS=registry,router"
    )
    engine.wait_until_healthy(name)
    engine.docker("stop", "-t", "60", name)
    assert exit_code(engine, name) == "0", engine.docker("logs", name)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("-e", "ROUTER_PORT=many"), "svc: ROUTER_PORT: must be a whole number, not 'many'"),
        (("-v", "{bad}:/app/config"), "svc: config/bad.toml: backend: missing"),
        (("-v", "{root}:/app/var"), "svc: var: cannot write here: Permission denied; make it writable for user 10001"),
        (("--read-only", "-v", "{root}:/app/var:ro"), "svc: var: cannot write here: Read-only file system"),
    ],
)
def test_a_failed_start_is_one_line_and_exit_status_1(engine, tmp_path, options, line):
    tmp_path.chmod(0o755)
    for name in ("root", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "bad.toml").write_text("port = 8100")
    output = engine.docker(
        "run",
        "--rm",
        *(w.format(bad=tmp_path / "bad", root=tmp_path / "root") for w in options),
        "infinilm-svc",
        status=1,
    )
    assert len(output.splitlines()) == 1, output
    assert output.startswith(line)


def test_svc_health_follows_the_state_of_the_site(engine, run):
    name = run("-e", "LAUNCH_COMPONENTS=registry,router")
    engine.wait_until_healthy(name)
    assert engine.docker("exec", name, "svc", "health") == "well: registry, router"
    engine.docker("exec", name, "supervisorctl", "stop", "registry")
    engine.docker("exec", name, "svc", "health", status=1)


def test_an_operators_commands_in_a_read_only_container(engine, run, tmp_path):
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    tmp_path.chmod(0o755)
    name = run("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "-v", f"{config}:/app/config:ro")
    engine.wait_until_healthy(name)

    def svc(*arguments, status=0):
        done = engine.exec(name, "svc", *arguments)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    wait_until(
        lambda: "all is well" in engine.exec(name, "svc", "doctor").stdout, timeout=90, description="well", interval=1
    )
    assert "Nothing to do" in svc("plan")
    assert svc("apply").startswith("nothing to do")
    assert "no log file" in svc("logs", "demo1", status=1)
    assert svc("render", "--check", status=1).splitlines()[-1] == "svc: conf.d: stale; run `svc render`"
    before = svc("status")
    svc("up")
    assert pids(svc("status")) == pids(before)

    toml = config / "babysitter1.toml"
    toml.write_text(f'{toml.read_text()}\n[metadata]\nrack = "7"\n')
    assert "~ demo1: changed: demo1:babysitter restarts" in svc("plan", status=2)
    svc("apply")
    assert "Nothing to do" in svc("plan")
    after = pids(svc("status"))
    assert {name for name, pid in after.items() if pid != pids(before)[name]} == {"demo1:babysitter"}
    svc("rollout", "restart", "demo1")
    assert pids(svc("status"))["demo1:server"] != after["demo1:server"]


def pids(status):
    """Return the pid of each program in the output of `svc status`."""
    return dict(re.findall(r"^(\S+) +RUNNING +(\d+)", status, re.M))


@pytest.mark.parametrize("mode", [0o644, 0o400])
def test_a_mounted_token_is_well_where_only_its_readers_can_read_it(engine, run, tmp_path, mode):
    """Mode 644 of the host's root, or 400 of the container's user."""
    tmp_path.chmod(0o755)
    token = tmp_path / "token"
    token.write_text("secret-word")
    token.chmod(mode)
    if mode == 0o400:
        os.chown(token, 10001, 10001)
    name = run("-e", "REGISTRY_TOKEN_FILE=/run/token", "-v", f"{token}:/run/token:ro")
    engine.wait_until_healthy(name)
    wait_until(
        lambda: "all is well" in engine.exec(name, "svc", "doctor").stdout, timeout=90, description="well", interval=1
    )
    assert "readable by all users" not in engine.docker("logs", name)
