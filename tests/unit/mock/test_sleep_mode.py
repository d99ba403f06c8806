"""The sleep mode of vLLM in the mock: memory, requests, and the time that a wake-up takes."""

import os

import pytest

from svc.mock.behaviour import GpuOptions
from svc.mock.engine_memory import EngineMemory, load_seconds
from svc.mock.gpu_state import GpuStateFile
from tests.unit.mock.in_process import InProcessMock

GB = 10**9
CHAT = "/v1/chat/completions"
BODY = {"model": "a", "messages": [{"role": "user", "content": "x y z"}]}


@pytest.fixture
def file(tmp_path):
    file = GpuStateFile(tmp_path / "gpus.json")
    file.create(1, 80 * GB)
    return file


def gpu_mock(file, wake_seconds=0.0):
    """Return a mock whose engine holds 50 GB, and 1 GB while it sleeps."""
    options = GpuOptions(memory=50 * GB, sleep_memory=GB)
    memory = EngineMemory(options, "m", os.getpid(), file)
    memory.take("load")
    return InProcessMock(memory, wake_seconds)


def test_a_sleeping_engine_keeps_little_memory_and_takes_the_rest_again(file):
    mock = gpu_mock(file)
    mock.call("POST", "/sleep?level=1")
    assert mock.status == "200 OK"
    assert file.read().used(0) == GB
    mock.call("POST", "/wake_up")
    assert mock.status == "200 OK"
    assert file.read().used(0) == 50 * GB
    assert [event["event"] for event in file.events()] == ["load", "sleep", "wake"]


def test_a_sleeping_engine_is_healthy_but_refuses_requests():
    mock = InProcessMock()
    mock.call("POST", "/sleep")
    assert mock.json("GET", "/is_sleeping") == {"is_sleeping": True}
    assert mock.json("POST", CHAT, BODY)["error"]["code"] == "engine_asleep"
    assert mock.status[:3] == "503"
    for path in ("/health", "/v1/models", "/metrics"):
        mock.call("GET", path)
        assert mock.status == "200 OK"
    mock.call("POST", "/wake_up")
    assert mock.json("GET", "/is_sleeping") == {"is_sleeping": False}
    mock.call("POST", CHAT, BODY)
    assert mock.status == "200 OK"


def test_a_wake_up_takes_its_time_and_a_second_one_only_the_rest():
    mock = InProcessMock(wake_seconds=3)
    mock.call("POST", "/sleep")
    mock.call("POST", "/wake_up")
    mock.now += 2
    mock.call("POST", "/wake_up")
    assert mock.json("GET", "/is_sleeping") == {"is_sleeping": True}
    assert mock.connection.pauses == [3, 1]
    mock.now += 1
    assert mock.json("GET", "/is_sleeping") == {"is_sleeping": False}


def test_an_engine_that_finds_no_memory_dies(file, capsys):
    mock = gpu_mock(file)
    mock.call("POST", "/sleep")
    with file.changed() as state:
        state.take(os.getppid(), (0,), 40 * GB)
    mock.call("POST", "/wake_up")
    assert mock.status[:3] == "500"
    assert mock.exits == [(0, 1)]
    assert "CUDA out of memory" in capsys.readouterr().err
    assert file.events()[-1]["event"] == "out_of_memory"


def test_what_is_in_flight_is_cut_off_when_the_engine_goes_to_sleep():
    mock = InProcessMock()
    parts = mock.begin("POST", CHAT, {**BODY, "stream": True})
    next(parts)
    mock.call("POST", "/sleep")
    assert list(parts) == []
    assert mock.connection.aborted == "closed"


@pytest.mark.parametrize(("method", "target", "status"), [("POST", "/sleep?level=2", "400"), ("GET", "/sleep", "405")])
def test_what_the_mock_cannot_do_is_refused(method, target, status):
    mock = InProcessMock()
    mock.call(method, target)
    assert mock.status[:3] == status
    assert mock.json("GET", "/is_sleeping") == {"is_sleeping": False}


def test_calls_of_a_babysitter_are_no_requests():
    mock = InProcessMock()
    mock.call("POST", "/sleep")
    mock.call("POST", "/wake_up")
    assert mock.stats()["requests"] == 0


def test_the_time_to_load_grows_with_the_size():
    assert load_seconds(GpuOptions(memory=40 * GB, load_time=2, load_rate=20)) == 4
    assert load_seconds(GpuOptions(memory=40 * GB, load_time=2)) == 2
