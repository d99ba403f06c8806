"""mx-smi 2.1, and 2.2 with more columns."""

import pytest

from svc.base.gpus import metax
from tests.unit.base.gpus.recorded import output

MIB = 1 << 20


def test_release_2_1():
    busy, idle = metax.parse([output("mx_smi_2_1.txt"), ""])
    assert (busy.index, busy.name, busy.uuid) == (0, "MetaX C500", "0000:0e:00.0")
    assert (busy.memory_total, busy.memory_used) == (65536 * MIB, 60982 * MIB)
    assert (busy.utilization, busy.temperature, busy.power, busy.errors) == (0.37, 51, 169, None)
    assert [(process.pid, process.memory) for process in busy.processes] == [(15652, 60032 * MIB), (22854, 584 * MIB)]
    assert (idle.power, idle.fault, idle.processes) == (97, "", ())


def test_release_2_2_has_more_columns_a_state_and_counts_of_errors():
    works, broken = metax.parse([output("mx_smi_2_2.txt"), output("mx_smi_ecc.txt")])
    assert (works.name, works.utilization, works.temperature, works.power) == ("MetaX N260", 0.42, 55, 180)
    assert (works.errors, works.fault, works.processes) == (0, "", ())
    assert (broken.name, broken.utilization, broken.temperature, broken.power) == ("MetaX N260", None, None, None)
    assert (broken.errors, broken.fault) == (3, "Unavailable")


@pytest.mark.parametrize(
    "text", ["", "mx-smi: cannot open /dev/mxcd", "|||\n|||\n", "| 0 a | b | c |\n| 1 | 2 | 3 |\n"]
)
def test_an_output_without_gpus_cannot_be_read(text):
    with pytest.raises(ValueError, match="it lists no GPU"):
        metax.parse([text, ""])
