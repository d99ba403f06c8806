"""The image, built and run by a real Docker engine, with the commands of the guide."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.documents.blocks import blocks
from tests.e2e.docker_engine import Engine
from tests.e2e.sites import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800), pytest.mark.xdist_group("docker")]
ROUTER = "http://localhost:8000"
CHAT = [
    "-H",
    "Content-Type: application/json",
    "-d",
    '{"model": "demo-small", "messages": [{"role": "user", "content": "Hi"}]}',
]


@pytest.fixture(scope="module")
def engine():
    place = Path(tempfile.mkdtemp(prefix="svc-docker-", dir="/tmp"))
    docker_engine = Engine(place)
    try:
        docker_engine.start(own_network=False)
        docker_engine.make_base()
        docker_engine.build("infinilm-svc", "docker/Dockerfile")
        docker_engine.build("infinilm-svc-rust", "docker/Dockerfile.rust")
        docker_engine.restart_in_own_network()
        yield docker_engine
    finally:
        docker_engine.end()
        shutil.rmtree(place, ignore_errors=True)


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
    answer = json.loads(engine.curl("http://localhost:8000/v1/chat/completions", *CHAT))
    assert answer["model"] == "demo-small"
    assert engine.docker("exec", name, "cat", "/proc/1/comm") == "tini"
    assert "demo1:server" in engine.docker("exec", name, "supervisorctl", "status")
    wait_until(
        lambda: engine.docker("inspect", "-f", "{{.State.Health.Status}}", name) == "healthy", timeout=60, interval=1
    )

    engine.docker("exec", name, "sh", "-c", "(exec sleep 0.2) & (exec sleep 0.3) & :")
    states = "cat /proc/[0-9]*/stat | grep -c ') Z ' || true"
    wait_until(lambda: engine.docker("exec", name, "sh", "-c", states) == "0", description="no zombies", interval=0.3)

    engine.docker("stop", "-t", "90", name)
    assert exit_code(engine, name) == "0"
    output = engine.docker("logs", name)
    stopped = re.findall(r"^(\S+) +stopped \(", output, re.M)
    assert stopped[0] == "router"
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


def test_the_commands_of_the_document(engine, tmp_path):
    """The commands of DOCKER.md, in a copy of the checkout; the image is built before, so that nothing is fetched."""
    tmp_path.chmod(0o755)
    names = ["config", "docker", "ops", "svc", "templates", ".dockerignore", "setup.cfg", "pyproject.toml", "README.md"]
    subprocess.run(["cp", "-a", *names, str(tmp_path)], cwd=ROOT, check=True)
    mine = [block.text for block in blocks(Path("docs/DOCKER.md")) if "run by" in block.notes]
    assert len(mine) == 2
    try:
        for text in mine:
            engine.shell(text.replace("docker build", "docker build --network host"), tmp_path)
        engine.wait_until_healthy("svc")
    finally:
        engine.docker("rm", "-fv", "svc")


def test_svc_health_follows_the_state_of_the_site(engine, run):
    name = run("-e", "LAUNCH_COMPONENTS=registry,router")
    engine.wait_until_healthy(name)
    assert engine.docker("exec", name, "svc", "health") == "well: registry, router"
    engine.docker("exec", name, "supervisorctl", "stop", "registry")
    engine.docker("exec", name, "svc", "health", status=1)


def served(engine):
    """Return the names of the instances to which the router sends requests."""
    table = json.loads(engine.curl(f"{ROUTER}/services") or '{"services": []}')
    return {service["name"] for service in table["services"] if service["healthy"]}


def test_the_compose_file_one_control_host_and_two_instance_hosts(engine, tmp_path):
    """Debian's docker-compose is older than the `name` key."""
    ops = tmp_path / "ops" / "docker"
    shutil.copytree(ROOT / "ops" / "docker", ops, symlinks=True)
    tmp_path.chmod(0o755)
    (ops / "registry-token").write_text("secret word\n")
    text = (ops / "compose.yaml").read_text()
    (ops / "compose.yaml").write_text(text.replace("name: infinilm-svc\n", ""))
    compose = ("-f", str(ops / "compose.yaml"), "-p", "svc")
    try:
        engine.compose(*compose, "up", "-d", "--no-build")
        both = {"mock-a-server", "mock-b-server"}
        wait_until(lambda: served(engine) == both, timeout=90, description="both instances", interval=1)
        assert json.loads(engine.curl(f"{ROUTER}/v1/chat/completions", *CHAT))["model"] == "demo-small"
        refused = engine.curl("-X", "DELETE", "http://localhost:18000/services/mock-a-server")
        assert "token" in refused, "a write from another machine needs it"

        engine.compose(*compose, "stop", "instance-a")
        wait_until(
            lambda: served(engine) == {"mock-b-server"},
            timeout=30,
            description="the removed instance to be gone",
            interval=0.5,
        )
        output = engine.compose(*compose, "logs", "--no-color", "instance-a")
        assert "deregistered mock-a-server" in output
        assert "secret word" not in engine.compose(*compose, "logs", "--no-color")
        assert json.loads(engine.curl(f"{ROUTER}/v1/chat/completions", *CHAT))["model"] == "demo-small"
    finally:
        engine.compose(*compose, "down", "-v")
