"""The commands of docs/DOCKER.md and the compose file, run with a real Docker engine."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.debian import program
from tests.documents.blocks import blocks
from tests.e2e.docker_engine import BASE, ROUTER
from tests.e2e.sites import ROOT
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800), pytest.mark.xdist_group("docker")]
# What this engine lacks: a network during a build, images of others, GPUs, and version 2 of Compose.
SUBSTITUTES = {
    "docker build": "docker build --network host",
    "vllm/vllm-openai:latest": BASE,
    " --gpus all": "",
    "docker compose": "docker-compose",
    "up --build": "up --no-build",
}
BLOCKS = blocks(Path("docs/DOCKER.md"))
FIRST = "docker run -d --name svc --stop-timeout 90 infinilm-svc\nuntil docker exec svc svc health; do sleep 1; done\n"


@pytest.fixture
def checkout(engine, tmp_path):
    """A copy of the checkout from which the images were built, so that building them again fetches nothing."""
    directory = tmp_path / "checkout"
    subprocess.run(["cp", "-a", str(engine.checkout), str(directory)], check=True)
    tmp_path.chmod(0o755)
    compose = directory / "ops" / "docker" / "compose.yaml"
    compose.write_text(compose.read_text().replace("name: infinilm-svc\n", ""))
    yield directory
    engine.remove_containers()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_a_block_of_the_document_runs_and_what_it_starts_is_healthy(engine, checkout, block):
    text = block.text
    if "docker compose" in text:
        program("docker-compose", "docker-compose")
    for word, substitute in SUBSTITUTES.items():
        text = text.replace(word, substitute)
    engine.shell(text if "docker run" in text or "compose" in text else FIRST + text, checkout)
    for name in engine.containers():
        engine.wait_until_healthy(name)


def served(engine):
    """Return the names of the instances to which the router sends requests."""
    table = json.loads(engine.curl(f"{ROUTER}/services") or '{"services": []}')
    return {service["name"] for service in table["services"] if service["healthy"]}


def test_the_compose_file_one_control_host_and_two_instance_hosts(engine, tmp_path):
    """Debian's docker-compose is older than the `name` key."""
    ops = tmp_path / "ops" / "docker"
    shutil.copytree(ROOT / "ops" / "docker", ops, symlinks=True)
    tmp_path.chmod(0o755)
    (ops / "registry-token").write_text("secret-word\n")
    text = (ops / "compose.yaml").read_text()
    (ops / "compose.yaml").write_text(text.replace("name: infinilm-svc\n", ""))
    compose = ("-f", str(ops / "compose.yaml"), "-p", "svc")
    try:
        engine.compose(*compose, "up", "-d", "--no-build")
        both = {"mock-a-server", "mock-b-server"}
        wait_until(lambda: served(engine) == both, timeout=90, description="both instances", interval=1)
        assert engine.model_of_answer() == "demo-small"
        refused = engine.curl("-X", "DELETE", "http://localhost:18000/services/mock-a-server")
        assert "token" in refused, "a write from another machine needs it"

        control = next(name for name in engine.containers() if "control" in name)
        wait_until(
            lambda: "all is well" in engine.exec(control, "svc", "doctor").stdout,
            timeout=90,
            description="doctor to call the control host well",
            interval=1,
        )
        instance = next(name for name in engine.containers() if "instance-a" in name)
        assert "Nothing to do" in engine.exec(instance, "svc", "plan").stdout

        engine.compose(*compose, "stop", "instance-a")
        wait_until(
            lambda: served(engine) == {"mock-b-server"},
            timeout=30,
            description="the removed instance to be gone",
            interval=0.5,
        )
        output = engine.compose(*compose, "logs", "--no-color", "instance-a")
        assert "deregistered mock-a-server" in output
        assert "secret-word" not in engine.compose(*compose, "logs", "--no-color")
        assert engine.model_of_answer() == "demo-small"
    finally:
        engine.compose(*compose, "down", "-v")
