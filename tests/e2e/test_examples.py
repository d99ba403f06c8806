"""The MetaX example of ops/examples: its control host and its worker, with mocks in place of InfiniLM."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sites import Site
from tests.examples import EXAMPLES, tomls, variables
from tests.waiting import free_port_pair, wait_until

STAND_IN = Path(__file__).with_name("inference_server.py")


@pytest.fixture
def worker() -> Iterator[Site]:
    made = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
    yield made
    made.end()


def start(site: Site, example: Path, **environ: str) -> None:
    """Start a site with the files and variables of an example. Only paths, ports and addresses are this machine's."""
    token = site.root / "token"
    token.write_text("t" * 32)
    for path in tomls(example):
        text = path.read_text()
        port = re.search(r"^port = (\d+)$", text, re.M)[1]
        text = re.sub(rf"\b{port}\b", str(free_port_pair()), text)
        text = text.replace("/opt/conda/bin/python", sys.executable).replace("/run/secrets/registry-token", str(token))
        text = re.sub(r'"/workspace/\S+/inference_server.py"', f'"{STAND_IN}"', text)
        text = text.replace('"/workspace/InfiniLM"', f'"{site.root}"')
        (site.root / "config" / path.name).write_text(text)
    ports = {"REGISTRY_PORT": str(site.registry_port), "ROUTER_PORT": str(site.router_port)}
    here = {"BABYSITTER_HOST": "127.0.0.1", "REGISTRY_TOKEN_FILE": str(token)}
    site.svc("up", **variables(example) | ports | here | environ)


def test_both_models_of_both_hosts_are_served_at_one_address(site, worker):
    start(site, EXAMPLES / "metax-master")
    start(worker, EXAMPLES / "metax-worker", REGISTRY_URL=site.registry, ROUTER_URL=site.router)
    names = {f"{path.stem}-server" for role in ("master", "worker") for path in tomls(EXAMPLES / f"metax-{role}")}
    assert len(names) == 4
    wait_until(lambda: site.routed() == names, description="the router has the instances of both hosts")
    for model in ("9g_8b_thinking", "Qwen3-32B"):
        answer = site.chat(model)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == model
    assert {service.split(":")[0] for service in worker.supervisord.processes()} == {
        path.stem for path in tomls(EXAMPLES / "metax-worker")
    }
