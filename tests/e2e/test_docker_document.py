"""The commands of docs/DOCKER.md and the compose file, run with a real Docker engine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
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
HOST_BLOCKS = [block for block in BLOCKS if "on" in block.notes]
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


def run(engine, checkout, text):
    """Run a block's text; what it puts into /etc and /srv is in the directory of the checkout."""
    for word, substitute in SUBSTITUTES.items():
        text = text.replace(word, substitute)
    (checkout / "etc").mkdir(exist_ok=True)
    engine.shell(re.sub(r"(?<= )/(?=(?:etc|srv)/)", f"{checkout}/", text), checkout)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block not in HOST_BLOCKS], ids=lambda block: f"line {block.line}"
)
def test_a_block_of_the_document_runs_and_what_it_starts_is_healthy(engine, checkout, block):
    if "docker compose" in block.text:
        program("docker-compose", "docker-compose")
    starts = "docker run" in block.text or "compose" in block.text
    run(engine, checkout, block.text if starts else FIRST + block.text)
    for name in engine.containers():
        engine.wait_until_healthy(name)
    if "HOME=" in block.text:
        engine.shell("docker exec svc sh -c 'touch ~/downloaded'", checkout)
        assert (checkout / "srv" / "models" / "downloaded").exists()


def test_hosts_without_compose_answer(engine, checkout):
    """Both hosts are this engine's, which has the addresses of both."""
    control, first, _ = HOST_BLOCKS
    engine.shell("for last in 1 11; do ip address add 10.0.0.$last/32 dev lo; done", checkout)
    try:
        run(engine, checkout, control.text)
        run(engine, checkout, first.text)
        wait_until(lambda: served(engine, "http://10.0.0.1:8000") == {"qwen-a-server"}, 90, "it is used", interval=1)
        for name in ("control", "qwen-a"):
            engine.wait_until_healthy(name)
            wait_until(
                lambda name=name: "all is well" in engine.exec(name, "svc", "doctor").stdout, 90, "well", interval=1
            )
        engine.docker("exec", "qwen-a", "svc", "drain", "qwen-a", "--wait")
    finally:
        engine.shell("for last in 1 11; do ip address del 10.0.0.$last/32 dev lo; done", checkout)


@pytest.fixture
def peer(engine, checkout) -> Iterator[str]:
    """Another machine of the engine's network: the control host, and a host that the firewall does not admit."""
    name = f"svc-peer-{os.getpid()}"
    engine.shell(
        f"""ip netns add {name}
        ip link add lan0 type veth peer name lan0 netns {name}
        ip address add 10.0.0.11/24 dev lan0
        ip link set lan0 up
        ip -n {name} address add 10.0.0.1/24 dev lan0
        ip -n {name} address add 10.0.0.100/24 dev lan0
        ip -n {name} link set lan0 up""",
        checkout,
    )
    yield name
    engine.shell(f"ip netns delete {name}", checkout)


def test_the_firewall_admits_only_the_control_host_to_published_ports(engine, checkout, peer):
    program("nft", "nftables")
    control, first, firewall = HOST_BLOCKS
    run(engine, checkout, control.text.partition("docker run")[0])  # the token

    def admitted() -> set[str]:
        """Return the peer's addresses from which the instance and its babysitter can be reached."""
        curl = ["ip", "netns", "exec", peer, "curl", "-sS", "--max-time", "3", "--fail", "--interface"]
        urls = ["http://10.0.0.11:8100/v1/models", "http://10.0.0.11:8101/health"]
        done = {address: subprocess.run([*curl, address, *urls]) for address in ("10.0.0.1", "10.0.0.100")}
        return {address for address, process in done.items() if process.returncode == 0}

    try:
        run(engine, checkout, first.text)
        wait_until(lambda: admitted() == {"10.0.0.1", "10.0.0.100"}, 60, "Docker admits both", interval=1)
        for _ in range(2):  # the file can be read again
            run(engine, checkout, firewall.text)
            assert admitted() == {"10.0.0.1"}
    finally:
        engine.shell("nft delete table inet filter 2> /dev/null || true", checkout)


def served(engine, router=ROUTER):
    """Return the names of the instances to which the router sends requests."""
    table = json.loads(engine.curl(f"{router}/services") or '{"services": []}')
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
