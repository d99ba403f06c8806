"""npu-smi: cards with one chip, with two, the 310P without HBM, and the 950 with another table."""

import pytest

from svc.base.gpus import ascend
from tests.unit.base.gpus.recorded import output

MIB = 1 << 20


def parse(name: str):
    return ascend.parse([output(name)])


def processes(gpu):
    return [(process.pid, process.memory) for process in gpu.processes]


def test_cards_with_one_chip_are_numbered_as_cards():
    busy, broken = parse("npu_smi_910b.txt")
    assert (busy.index, busy.name, busy.uuid) == (2, "910B4", "0000:C2:00.0")
    assert (busy.memory_total, busy.memory_used) == (32768 * MIB, 30759 * MIB)
    assert (busy.utilization, busy.temperature, busy.power, busy.fault) == (0.17, 39, 89.9, "")
    assert processes(busy) == [(48988, 27330 * MIB), (907864, 134 * MIB)]
    assert (broken.index, broken.fault, processes(broken)) == (5, "Alarm", [])


def test_chips_of_one_card_have_their_physical_ids():
    first, second = parse("npu_smi_a3.txt")
    assert (first.index, first.memory_used, first.power) == (2, 62449 * MIB, 167.2)
    assert (second.index, second.memory_used, second.power) == (3, 3204 * MIB, None)
    assert (processes(first), processes(second)) == ([], [(845053, 2900 * MIB)])


def test_memory_is_that_of_the_npu_not_of_the_host():
    (gpu,) = parse("npu_smi_910a.txt")
    assert (gpu.memory_used, gpu.memory_total, gpu.name) == (30711 * MIB, 32768 * MIB, "910ProB")


def test_a_310p_has_one_memory_and_no_power():
    first, second = parse("npu_smi_310p.txt")
    assert (first.index, first.memory_used, first.memory_total) == (0, 1596 * MIB, 44280 * MIB)
    assert (first.power, first.fault, second.index, second.fault) == (None, "Warning", 1, "")
    assert processes(second) == [(1234, 900 * MIB)]


def test_the_950_has_a_column_for_the_name():
    (gpu,) = parse("npu_smi_950.txt")
    assert (gpu.index, gpu.name, gpu.memory_total) == (0, "Ascend950PR", 114688 * MIB)
    assert (gpu.utilization, gpu.power, processes(gpu)) == (0.03, 152, [(77, 1000 * MIB)])


@pytest.mark.parametrize("text", ["", "dcmi model initialized failed, because the device is used. ret is -8020\n"])
def test_an_output_without_npus_cannot_be_read(text):
    with pytest.raises(ValueError, match="it lists no NPU"):
        ascend.parse([text])
