"""The fake nvidia-smi prints the formats of the real one."""

import os
import subprocess
import sys

import pytest

from svc.base.gpus import nvidia
from svc.mock import nvidia_smi
from svc.mock.gpu_state import GpuStateFile

PID = os.getpid()


@pytest.fixture
def smi(tmp_path, capsys):
    """Return a function that runs nvidia-smi for two GPUs, on the second of which this process holds 1000 MiB."""
    file = GpuStateFile(tmp_path / "gpus.json")
    file.create(2, 80 * 10**9)
    with file.changed() as state:
        state.take(PID, (1,), 1000 * 2**20 - 1)

    def run(*arguments, status=0):
        assert nvidia_smi.main([str(file.path), *arguments]) == status
        return capsys.readouterr().out.splitlines()

    return run


def test_the_memory_of_gpus_as_numbers(smi):
    query = "--query-gpu=index,memory.total,memory.used,utilization.gpu,ecc.errors.uncorrected.volatile.total"
    assert smi(query, "--format=csv,noheader,nounits") == ["0, 76293, 0, 0, [N/A]", "1, 76293, 1000, 0, [N/A]"]


def test_headers_and_units(smi):
    assert smi("--query-gpu=uuid,memory.free,power.draw", "--format=csv", "--id=0") == [
        "uuid, memory.free [MiB], power.draw [W]",
        "GPU-00000000-0000-4000-8000-000000000000, 76293 MiB, 50.00 W",
    ]


def test_the_processes_that_hold_memory(smi):
    query = "--query-compute-apps=pid,gpu_uuid,used_memory,process_name"
    uuid = "GPU-00000000-0000-4000-8000-000000000001"
    with open("/proc/self/cmdline") as file:
        name = file.read().split("\0")[0]
    assert smi(query, "--format=csv,noheader,nounits") == [f"{PID}, {uuid}, 1000, {name}"]
    assert smi(query, "--format=csv,noheader,nounits", "-i", "0") == []


def test_the_list_of_gpus(smi):
    assert smi("-L")[1] == "GPU 1: Mock GPU (UUID: GPU-00000000-0000-4000-8000-000000000001)"


def test_the_reader_of_babysitters_understands_it(smi):
    first, second = nvidia.TOOL.parse(["\n".join(smi(*query.arguments)) for query in nvidia.TOOL.queries])
    assert (first.memory_used, first.processes) == (0, ())
    assert (second.name, second.memory_total, second.memory_used) == ("Mock GPU", 76293 * 2**20, 1000 * 2**20)
    assert [(process.pid, process.memory) for process in second.processes] == [(PID, 1000 * 2**20)]


def test_an_unknown_field_is_refused(smi):
    assert smi("--query-gpu=index,nope", "--format=csv", status=2)[0] == 'Field "nope" is not a valid field to query.'


def test_a_gpu_that_is_not_there_is_not_found(smi):
    assert smi("-L", "--id=7", status=6) == ["No devices were found"]


def test_the_installed_program_runs_from_any_directory(tmp_path):
    file = GpuStateFile(tmp_path / "a b.json")
    file.create(1, 10**9)
    program = nvidia_smi.install(tmp_path, file.path)
    output = subprocess.run([program, "-L"], cwd="/", check=True, capture_output=True, text=True).stdout
    assert output.startswith("GPU 0: Mock GPU")
    assert sys.executable in program.read_text()
