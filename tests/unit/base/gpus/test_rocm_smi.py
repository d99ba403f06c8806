"""rocm-smi: a warning before the JSON, keys of two releases, and processes whose GPUs a second query names."""

import pytest

from svc.base.gpus import rocm_smi
from tests.unit.base.gpus.recorded import output


def test_two_cards():
    first, second = rocm_smi.parse([output("rocm_smi.json"), output("rocm_smi_pidgpus.txt")])
    assert (first.index, first.name, first.uuid) == (0, "AMD INSTINCT MI250 (MCM) OAM AC MBA", "0x719d230578348e8c")
    assert (first.memory_total, first.memory_used) == (68702699520, 60129542144)
    assert (first.utilization, first.temperature, first.power) == (0, 35, 89)
    assert (second.name, second.uuid, second.temperature) == ("AMD Instinct MI250", "", None)
    assert (second.power, second.utilization) == (266, 0.99)


def test_the_memory_of_a_process_is_known_if_it_uses_one_gpu():
    first, second = rocm_smi.parse([output("rocm_smi.json"), output("rocm_smi_pidgpus.txt")])
    assert [(process.pid, process.memory) for process in first.processes] == [(3171, 60000000000), (3200, None)]
    assert [(process.pid, process.memory) for process in second.processes] == [(3200, None)]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"card0": 1}', "ERROR: GPU[0]\t: Unable to open {device}"])
def test_an_output_without_cards_cannot_be_read(text):
    with pytest.raises(ValueError, match="it "):
        rocm_smi.parse([text, ""])
