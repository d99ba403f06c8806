"""The sites of ops/examples that run InfiniLM, with mocks in its place."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sites import Site, http
from tests.examples import EXAMPLES, tomls, variables
from tests.waiting import free_port_pair, wait_until

STAND_IN = Path(__file__).with_name("inference_server.py")


@pytest.fixture
def worker() -> Iterator[Site]:
    made = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
    yield made
    made.end()


def start(site: Site, *examples: str, **environ: str) -> None:
    """Start a site with the files and variables of examples. Only paths, ports and addresses are this machine's."""
    token = site.root / "token"
    token.write_text("t" * 32)
    variables_of_all: dict[str, str] = {}
    for example in examples:
        variables_of_all |= variables(EXAMPLES / example)
        for path in tomls(EXAMPLES / example):
            (site.root / "config" / path.name).write_text(adapted(path.read_text(), site.root, token))
    variables_of_all |= {
        "REGISTRY_PORT": str(site.registry_port),
        "ROUTER_PORT": str(site.router_port),
        "BABYSITTER_HOST": "127.0.0.1",
        "BABYSITTER_CONFIGS": " ".join(path.name for example in examples for path in tomls(EXAMPLES / example)),
        "REGISTRY_TOKEN_FILE": str(token),
    }
    site.svc("up", **variables_of_all | environ)


def adapted(text: str, directory: Path, token: Path) -> str:
    """Return the text of a TOML for this machine: another port, and a stand-in for the engine."""
    port = re.search(r"^port = (\d+)$", text, re.M)
    assert port
    text = re.sub(rf"\b{port[1]}\b", str(free_port_pair()), text)
    text = text.replace("/opt/conda/bin/python", sys.executable).replace("/run/secrets/registry-token", str(token))
    text = re.sub(r'"/workspace/\S+/inference_server.py"', f'"{STAND_IN}"', text)
    return text.replace('"/workspace/InfiniLM"', f'"{directory}"')


def names(example: str) -> set[str]:
    return {f"{path.stem}-server" for path in tomls(EXAMPLES / example)}


def test_all_models_of_both_hosts_are_served_at_one_address(site, worker):
    """Of the instances with a kind of cache, the size of the prompt chooses."""
    start(site, "metax-master", "size-routing")
    start(worker, "metax-worker", REGISTRY_URL=site.registry, ROUTER_URL=site.router)
    expected = names("metax-master") | names("metax-worker") | names("size-routing")
    assert len(expected) == 6
    wait_until(lambda: site.routed() == expected, description="the router has the instances of both hosts")
    assert set(worker.supervisord.processes()) == {
        f"{path.stem}:{program}" for path in tomls(EXAMPLES / "metax-worker") for program in ("server", "babysitter")
    }
    assert answering(site, "9g_8b_thinking", "Hello") in {
        "master-9g_8b_thinking-server",
        "worker-9g_8b_thinking-server",
    }
    assert answering(site, "Qwen3-32B", "Hello") == "paged-Qwen3-32B-server"
    assert answering(site, "Qwen3-32B", "Hello " * 10_000) == "static-Qwen3-32B-server"


def answering(site: Site, model: str, prompt: str) -> str:
    """Return the instance that answers a prompt."""
    answer = site.chat(model, messages=[{"role": "user", "content": prompt}])
    assert (answer.status_code, answer.json()["model"]) == (200, model), answer.text
    ports = {str(s["port"]): s["name"] for s in http.get(f"{site.router}/services", timeout=5).json()["services"]}
    return ports[answer.headers["x-mock-name"]]
