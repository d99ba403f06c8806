"""Simulated GPUs: what fits, what does not, and whose memory is free."""

import os
import subprocess
import sys

import pytest

from svc.base.errors import CommandError
from svc.mock.gpu_state import GpuStateFile, OutOfMemory

GB = 10**9


@pytest.fixture
def file(tmp_path):
    file = GpuStateFile(tmp_path / "gpus.json", clock=lambda: 7.0)
    file.create(2, 80 * GB)
    return file


@pytest.fixture
def other():
    """Return a process that holds memory until it is killed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def take(file, pid, gpus, memory):
    with file.changed() as state:
        state.take(pid, gpus, memory)


def test_memory_is_taken_on_each_gpu(file):
    take(file, os.getpid(), (0, 1), 30 * GB)
    assert [file.read().used(index) for index in (0, 1)] == [30 * GB, 30 * GB]


def test_what_does_not_fit_on_one_gpu_is_taken_on_none(file, other):
    take(file, other.pid, (1,), 50 * GB)
    text = r"CUDA out of memory. Tried to allocate 37.25 GiB. GPU 1 has .* 74.51 GiB of which 27.94 GiB is free"
    with pytest.raises(OutOfMemory, match=text):
        take(file, os.getpid(), (0, 1), 40 * GB)
    assert file.read().used(0) == 0


def test_a_gpu_that_is_not_there_cannot_be_used(file):
    with pytest.raises(OutOfMemory, match="invalid device ordinal"):
        take(file, os.getpid(), (2,), 1)


def test_a_process_that_takes_again_holds_only_the_new_amount(file):
    take(file, os.getpid(), (0,), 70 * GB)
    take(file, os.getpid(), (0,), 75 * GB)
    assert file.read().used(0) == 75 * GB


def test_the_memory_of_a_killed_process_is_free_even_while_it_is_a_zombie(file, other):
    take(file, other.pid, (0,), 50 * GB)
    assert file.read().used(0) == 50 * GB
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert file.read().used(0) == 0
    other.wait()
    assert file.read().used(0) == 0


def test_the_memory_of_an_earlier_process_with_the_same_pid_is_free(file):
    take(file, os.getpid(), (0,), 50 * GB)
    file.path.write_text(file.path.read_text().replace('"started": ', '"started": 1'))
    assert file.read().used(0) == 0


def test_events_are_listed_in_their_order(file):
    assert file.events() == []
    file.report("load", pid=3)
    file.report("exit", pid=3)
    assert file.events()[0] == {"time": 7.0, "event": "load", "pid": 3}
    assert file.events()[1]["event"] == "exit"


def test_a_missing_file_names_the_command_that_creates_it(tmp_path):
    with pytest.raises(CommandError, match=f"svc mock-gpus {tmp_path}"):
        GpuStateFile(tmp_path / "gpus.json").read()
