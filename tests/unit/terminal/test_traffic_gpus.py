"""The GPUs below the tables of `svc top`."""

import pytest

from svc.protocol.gpu_report import Gpu, GpuProcess
from svc.protocol.gpu_use import GpuUse, HostUse
from svc.terminal.traffic_gpus import gpu_lines

GB = 10**9
H100 = Gpu(index=0, memory_total=80 * GB, memory_used=71 * GB, utilization=0.98, temperature=64.0, power=612.4)


def use(index: int = 0, errors: int = 0, held: dict[str, int | None] | None = None, *strangers: GpuProcess) -> GpuUse:
    fields = {name: getattr(H100, name) for name in H100.__struct_fields__}
    return GpuUse(Gpu(**{**fields, "index": index, "errors": errors}), held or {}, strangers)


def text(hosts: dict[str, HostUse], width: int = 200, height: int | None = None) -> list[str]:
    return [" ".join(line.plain.split()) for line in gpu_lines(hosts, width, height)]


def test_a_gpu_shows_memory_load_and_who_holds_it():
    stranger = GpuProcess(pid=4711, memory=3 * GB, command="train.py")
    lines = text({"gpu1": HostUse("", [use(0, 0, {"qwen": 38 * GB, "chat": None}, stranger)])})
    assert lines == [
        "GPU MEMORY BUSY TEMP POWER HELD BY",
        "gpu1 0 █████████░ 71 of 80 GB 98 % 64 °C 612 W qwen 38 GB, chat, pid 4711 3 GB",
    ]


def test_nothing_is_shown_without_gpus():
    assert gpu_lines({}, 80, 10) == []


def test_errors_and_a_tool_that_fails_are_red():
    broken = GpuUse(Gpu(index=1, fault="GPU requires reset"), {}, [])
    lines = gpu_lines({"a": HostUse("", [use(0, errors=2), broken]), "b": HostUse("nvidia-smi hangs", [])}, 100)
    assert [line.style for line in lines[1:]] == ["red", "red", "red"]
    for line, text_ in zip(lines[1:], ("2 errors", "GPU requires reset", "nvidia-smi hangs"), strict=True):
        assert text_ in line.plain


def test_values_that_the_tool_does_not_report_are_left_out():
    bare = GpuUse(Gpu(index=3, memory_used=2 * GB + GB // 2), {}, [])
    assert text({"a": HostUse("", [bare])})[1] == "a 3 2.5 GB - - -"


def test_hosts_have_one_row_each_if_their_gpus_do_not_fit():
    hosts = {f"gpu{at}": HostUse("", [use(index) for index in range(8)]) for at in range(1, 4)}
    assert len(text(hosts)) == 25
    lines = text(hosts, 120, height=10)
    assert lines[1] == "gpu1 █████████░ 568 of 640 GB 98 % 64 °C 4899 W 8 GPUs"
    assert len(lines) == 4


def test_hosts_with_errors_remain_if_not_all_rows_fit():
    hosts = {f"gpu{at}": HostUse("", [use(0, errors=at == 30)]) for at in range(50)}
    lines = text(hosts, 120, height=5)
    assert len(lines) == 5
    assert lines[1].startswith("gpu30 ")
    assert lines[-1] == "… 47 more, all well"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(width):
    held = {"a-model-with-a-long-name": 38 * GB, "another-model-with-a-long-name": 12 * GB}
    lines = gpu_lines({"gpu1": HostUse("", [use(0, 1, held)])}, width)
    assert max(len(line.plain) for line in lines) <= width
