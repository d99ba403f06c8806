"""amd-smi of ROCm 6 (a list) and ROCm 7 (an object), with N/A where a GPU has no value."""

import pytest

from svc.base.gpus import amd_smi
from svc.base.gpus.gpu import GpuProcess
from tests.unit.base.gpus.recorded import output

MIB, GIB = 1 << 20, 1 << 30


def test_rocm_6():
    names = ("amd_smi_6_metric.json", "amd_smi_6_process.json", "amd_smi_static.json")
    busy, idle = amd_smi.parse([output(name) for name in names])
    assert (busy.name, busy.uuid) == ("AMD Instinct MI300X", "0xA1B2C3D4E5F60718")
    assert (busy.memory_total, busy.memory_used) == (196592 * MIB, 171530 * MIB)
    assert (busy.utilization, busy.temperature, busy.power, busy.errors) == (0.94, 71, 612, 0)
    assert busy.processes == (GpuProcess(pid=4242, memory=178000000000), GpuProcess(pid=4300))
    assert (idle.name, idle.uuid, idle.processes) == ("", "", ())
    assert (idle.utilization, idle.temperature, idle.power, idle.errors) == (None, None, 141, None)


def test_rocm_7():
    (gpu,) = amd_smi.parse([output("amd_smi_7_metric.json"), "", ""])
    assert (gpu.memory_total, gpu.memory_used) == (192 * GIB, GIB // 2)
    assert (gpu.utilization, gpu.temperature, gpu.power, gpu.errors) == (0, 45, 158, 2)


@pytest.mark.parametrize("broken", ["", "Traceback (most recent call last):\n", '{"gpu_data": 7}', "[[1], null]"])
def test_what_is_optional_may_be_broken(broken):
    (gpu,) = amd_smi.parse([output("amd_smi_7_metric.json"), broken, broken])
    assert (gpu.name, gpu.processes) == ("", ())
    with pytest.raises(ValueError, match="it "):
        amd_smi.parse([broken, "", ""])
