"""Which instance a process on a GPU belongs to: by what supervisord gives to its programs and their children."""

import os
import subprocess
import sys

import pytest

from svc.base import procfs
from svc.base.gpus import owners
from svc.base.gpus.gpu import Gpu, GpuProcess
from tests.waiting import wait_until

MARKS = {"SUPERVISOR_GROUP_NAME": "qwen", "SUPERVISOR_PROCESS_NAME": "server"}
READY = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def start():
    """Start a Python program that leads a process group, as supervisord does."""
    processes = []

    def start(code: str = READY, **environ: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=-1, stdout=-1, env=environ, start_new_session=True, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.communicate()


def test_a_server_belongs_to_its_instance(start):
    server = start(**MARKS)
    server.stdout.readline()
    assert owners.instance_of(server.pid) == "qwen"


def test_a_child_that_has_lost_its_environment_belongs_to_the_instance_of_its_group(start):
    child = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {READY!r}], env={{}}); p.wait()"
    server = start(child, **MARKS)
    server.stdout.readline()
    (pid,) = procfs.descendants(server.pid)
    wait_until(lambda: procfs.environment(pid) == [])
    assert owners.instance_of(pid) == "qwen"


@pytest.mark.parametrize("environ", [{}, {"SUPERVISOR_GROUP_NAME": "qwen", "SUPERVISOR_PROCESS_NAME": "babysitter"}])
def test_other_processes_belong_to_no_instance(start, environ):
    process = start(**environ)
    process.stdout.readline()
    assert owners.instance_of(process.pid) == ""


def test_a_process_that_is_not_visible_has_neither_instance_nor_command():
    gone = 2**22 + 1
    gpu = owners.with_owners(Gpu(index=0, processes=(GpuProcess(pid=gone, memory=5),)))
    assert gpu.processes == (GpuProcess(pid=gone, memory=5),)


def test_the_processes_with_the_most_memory_are_reported():
    own = os.getpid()
    many = tuple(GpuProcess(pid=own, memory=memory) for memory in range(100))
    processes = owners.with_owners(Gpu(index=0, processes=many)).processes
    assert [process.memory for process in processes] == list(range(99, 35, -1))
    assert "python" in processes[0].command
    assert len(processes[0].command) <= 200
