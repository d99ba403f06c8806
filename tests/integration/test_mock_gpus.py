"""Mocks on simulated GPUs, as processes: memory that does not fit, killed processes, loading, and sleeping."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import requests

from svc.mock.gpu_state import GpuStateFile
from tests.fork_server import SCRIPT
from tests.integration.fakes import Mock, mock
from tests.waiting import free_port, wait_until

GB = 10**9
BODY = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def file(tmp_path):
    """Return the file of one GPU, which `svc mock-gpus` has created."""
    subprocess.run([SCRIPT, "mock-gpus", tmp_path, "--gpus", "1", "--memory", "80GB"], check=True)
    return GpuStateFile(tmp_path / "gpus.json")


def used_mib(directory: Path) -> int:
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    return int(subprocess.run(query, env=environment, check=True, capture_output=True).stdout)


def gpu_mock(file: GpuStateFile, name: str, **flags: object):
    return mock(name, gpu_state=file.path, **{"gpu_memory": "50GB", **flags})


def test_a_mock_that_does_not_fit_dies_of_it_until_the_other_one_is_killed(file, tmp_path):
    with gpu_mock(file, "a") as first, tempfile.TemporaryFile() as output:
        assert used_mib(tmp_path) == 47684
        second = Mock("b", ["m"], free_port(), {"gpu_state": file.path, "gpu_memory": "40GB"}, output)
        with pytest.raises(AssertionError, match="ended with 1: torch.OutOfMemoryError: CUDA out of memory"):
            second.start()
        first.kill(signal.SIGKILL)
        assert used_mib(tmp_path) == 0
        second.start()
        second.end()
    kinds = [(event["name"], event["event"]) for event in file.events()]
    assert kinds == [("a", "load"), ("a", "ready"), ("b", "out_of_memory"), ("b", "load"), ("b", "ready")]


def test_a_mock_listens_after_its_load_time_and_a_signal_ends_the_load(file):
    port = free_port()
    arguments = [SCRIPT, "mock", "--port", str(port), "--gpu-state", file.path, "--gpu-memory", "50GB"]
    with subprocess.Popen([*arguments, "--load-rate", "1"]) as process:
        wait_until(lambda: file.read().used(0), description="the mock to take its memory")
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
        process.terminate()
        process.wait(timeout=5)
    assert file.read().used(0) == 0
    began = time.monotonic()
    with gpu_mock(file, "a", load_rate=100, load_time=0.3):
        assert time.monotonic() - began >= 0.8


def test_an_engine_that_sleeps_makes_room_and_wakes_up_in_its_time_without_a_restart(file):
    with gpu_mock(file, "a", wake_time=0.3, sleep_memory="1GB") as backend:
        pid = backend.stats()["pid"]
        stream = requests.post(f"{backend.url}/v1/chat/completions", json=BODY | {"stream": True}, stream=True)
        assert stream.ok
        assert requests.post(f"{backend.url}/sleep?level=1").status_code == 200
        assert file.read().used(0) == GB
        with gpu_mock(file, "b"):
            assert requests.post(f"{backend.url}/v1/chat/completions", json=BODY).status_code == 503
        began = time.monotonic()
        assert requests.post(f"{backend.url}/wake_up").status_code == 200
        assert 0.3 <= time.monotonic() - began < 1.3
        assert requests.get(f"{backend.url}/is_sleeping").json() == {"is_sleeping": False}
        assert requests.post(f"{backend.url}/v1/chat/completions", json=BODY).ok
        assert backend.stats()["pid"] == pid


def test_an_engine_that_cannot_wake_up_ends_with_an_error(file):
    with gpu_mock(file, "a") as backend:
        requests.post(f"{backend.url}/sleep?level=1")
        with gpu_mock(file, "b"):
            assert requests.post(f"{backend.url}/wake_up").status_code == 500
            assert backend.process.wait(timeout=5) == 1
        assert "CUDA out of memory" in backend.output()


def test_a_mock_uses_the_gpu_that_cuda_shows_it(file, monkeypatch):
    file.create(2, 80 * GB)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with gpu_mock(file, "a"):
        assert [file.read().used(index) for index in (0, 1)] == [0, 50 * GB]


def test_a_size_without_a_unit_that_exists_is_refused():
    run = subprocess.run([SCRIPT, "mock", "--gpu-memory", "38XB"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "write it like 38GB" in run.stderr
