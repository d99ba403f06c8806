"""nvidia-smi: data-centre cards, cards without ECC, MIG, broken GPUs, odd bytes."""

import pytest

from svc.base.gpus import nvidia
from svc.base.gpus.gpu import GpuProcess
from tests.unit.base.gpus.recorded import output

MIB = 1 << 20


def parse(gpus: str, processes: str = ""):
    return nvidia.parse([output(gpus), output(processes) if processes else ""])


def test_a_data_centre_card_reports_everything():
    busy, idle = parse("nvidia_535_gpus.csv", "nvidia_535_processes.csv")
    assert (busy.index, busy.name, busy.uuid[:8]) == (0, "NVIDIA H100 80GB HBM3", "GPU-6d1a")
    assert (busy.memory_total, busy.memory_used) == (81559 * MIB, 70213 * MIB)
    assert (busy.utilization, busy.temperature, busy.power, busy.errors) == (0.87, 64, 412.37, 0)
    assert busy.processes == (GpuProcess(pid=41231, memory=69800 * MIB), GpuProcess(pid=41777, memory=404 * MIB))
    assert (idle.index, idle.errors, idle.processes) == (1, 3, ())


def test_what_a_card_lacks_is_none():
    laptop, old = parse("nvidia_470_gpus.csv")
    assert (laptop.utilization, laptop.power, laptop.errors, laptop.temperature) == (None, None, None, 44)
    assert (old.utilization, old.power, old.errors, old.fault) == (0, None, None, "")
    assert laptop.name == "NVIDIA GeForce RTX 2070 with Max-Q Design"


def test_a_gpu_that_shares_the_memory_of_the_cpu_has_an_unknown_total():
    (gpu,) = parse("nvidia_unified_gpus.csv")
    assert (gpu.memory_total, gpu.memory_used, gpu.memory_free, gpu.fault) == (0, 0, 0, "")


def test_processes_of_mig_devices_count_for_their_gpu():
    (gpu,) = parse("nvidia_mig_gpus.csv", "nvidia_mig_processes.csv")
    assert [(process.pid, process.memory) for process in gpu.processes] == [(900, 9820 * MIB), (902, None)]
    assert (gpu.memory_used, gpu.utilization) == (20014 * MIB, None)


def test_a_broken_gpu_says_what_is_wrong():
    broken, other = parse("nvidia_broken_gpus.csv")
    assert (broken.fault, broken.memory_total, broken.memory_used) == ("GPU requires reset", 97887 * MIB, 0)
    assert broken.name == "NVIDIA RTX PRO 6000 Blackwell, Max-Q", "a comma belongs to the name"
    assert (other.index, other.fault, other.errors) == (2, "Unknown Error", None)


def test_odd_bytes_are_shown_and_break_nothing():
    (gpu,) = parse("nvidia_odd_bytes.csv")
    assert (gpu.name.isprintable(), gpu.uuid.isprintable(), gpu.memory_used) == (True, True, 0)
    assert gpu.name.startswith("NVIDIA")


@pytest.mark.parametrize("text", ["", "No devices were found\n", '"\n' * 9, "0,1,2,3,4,5,6\n"])
def test_an_output_without_gpus_cannot_be_read(text):
    with pytest.raises(ValueError, match="it lists no GPU"):
        nvidia.parse([text, ""])


def test_processes_of_a_gpu_that_is_listed_many_times_count_once():
    gpus = nvidia.parse(["0, GPU-1, 1, 1, 1, 1, 1, 1, H100\n" * 3, "GPU-1, 7, 1\n"])
    assert [len(gpu.processes) for gpu in gpus] == [1, 0, 0]
