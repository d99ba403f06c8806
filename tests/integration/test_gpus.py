"""GPUs on their way from the vendor's tool through a babysitter and the registry to `svc gpus`; the tool is a fake."""

import json
import os
import subprocess
import sys

import pytest
import requests

from svc.mock import nvidia_smi
from svc.mock.gpu_state import GpuStateFile
from tests.fork_server import SCRIPT
from tests.integration.commands import run
from tests.integration.registry.process import Registry
from tests.waiting import free_port_pair, wait_until

GB = 10**9
MARKS = {"SUPERVISOR_GROUP_NAME": "qwen", "SUPERVISOR_PROCESS_NAME": "server"}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host with two GPUs, a process of the instance qwen on one of them, a registry, and two babysitters."""
    place = tmp_path_factory.mktemp("gpus")
    file = GpuStateFile(place / "state.json")
    file.create(2, 80 * GB)
    nvidia_smi.install(place, file.path)
    registry = Registry(place).start()
    environ = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    server = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    holder = subprocess.Popen(server, stdin=-1, env={**environ, **MARKS}, start_new_session=True)
    with file.changed() as state:
        state.take(holder.pid, [1], 38 * GB)
    ports, babysitters = {}, []
    for name in ("qwen", "chat"):
        ports[name] = free_port_pair() + 1
        toml = place / f"{name}.toml"
        backend = '[backend]\ntype = "mock"\nmodels = ["m"]\n'
        toml.write_text(
            f'name = "{name}"\nport = {ports[name] - 1}\nregistry_url = "{registry.client.urls[0]}"\n{backend}'
        )
        with (place / f"{name}.log").open("ab") as log:
            command = [SCRIPT, "babysitter", "--config-file", toml]
            babysitters.append(subprocess.Popen(command, cwd=place, env=environ, stdout=log, stderr=log))
    yield registry, place, ports, holder.pid
    for process in babysitters:
        process.terminate()
    for process in babysitters:
        process.wait(15)
    holder.communicate()
    registry.end()


def test_one_babysitter_reports_the_host_with_the_instances_memory(host):
    registry, place, ports, pid = host
    wait_until(lambda: len(registry.client.services()) >= 2, 30, description="both babysitters are registered")
    wait_until(lambda: registry.client.gpus(), 30, description="the GPUs are reported")
    (reported,) = registry.client.gpus()
    assert (reported.tool, reported.problem) == ("nvidia-smi", "")
    assert [gpu.memory_total // GB for gpu in reported.gpus] == [79, 79]
    (process,) = reported.gpus[1].processes
    assert (process.pid, process.instance, process.memory // GB) == (pid, "qwen", 38)
    assert json.loads((place / "var" / "gpus.json").read_text())["gpus"][1]["processes"][0]["instance"] == "qwen"
    metrics = {name: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text for name, port in ports.items()}
    assert 'svc_gpu_process_memory_bytes{gpu="1",held_by="qwen",host="' in metrics.pop(reported.service)
    assert all("svc_gpu" not in text for text in metrics.values()), "the other babysitter leaves it alone"


def test_svc_gpus_shows_them(host):
    registry, _, _, _ = host
    wait_until(lambda: registry.client.gpus(), 30, description="the GPUs are reported")
    table, _ = run(registry, "gpus")
    assert "Mock GPU" in table
    assert "qwen 38 GB" in table
    shown = json.loads(run(registry, "gpus", "--json")[0])
    assert (shown["source"], [gpu["index"] for gpu in shown["hosts"][0]["gpus"]]) == (registry.client.urls[0], [0, 1])


def test_without_a_registry_svc_gpus_says_so_and_shows_this_host(host):
    registry, place, _, _ = host
    wait_until((place / "var" / "gpus.json").exists, description="the GPUs are read")
    table, note = run(registry, "gpus", REGISTRY_URL="http://127.0.0.1:1")
    assert "these are the GPUs of this host" in note
    assert "qwen 38 GB" in table
    assert run(registry, "gpus", "--local") == (table, "")
