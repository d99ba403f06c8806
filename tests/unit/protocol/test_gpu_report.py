"""Reports about GPUs fit into what a registry accepts."""

import msgspec
import pytest

from svc.protocol.gpu_report import MAX_REPORT_BYTES, Gpu, GpuProcess, GpuReport, fitted


def report(processes: int, gpus: int) -> GpuReport:
    listed = tuple(GpuProcess(pid=n, memory=n, command="x" * 200) for n in range(processes, 0, -1))
    return GpuReport(hostname="a", tool="t", gpus=tuple(Gpu(index=n, processes=listed) for n in range(gpus)))


def test_a_usual_report_is_sent_as_it_is():
    usual = report(processes=3, gpus=16)
    assert fitted(usual) is usual


def test_of_many_processes_those_with_the_most_memory_stay():
    sent = fitted(report(processes=64, gpus=16))
    assert len(msgspec.json.encode(sent)) <= MAX_REPORT_BYTES
    pids = [process.pid for process in sent.gpus[0].processes]
    assert pids == list(range(64, 64 - len(pids), -1))
    assert len(pids) >= 8


def test_the_largest_report_fits_without_processes():
    longest = "x" * 128
    gpu = Gpu(index=(1 << 31) - 1, uuid=longest, name=longest, fault=longest, memory_total=1 << 50, memory_used=1 << 50)
    assert len(msgspec.json.encode(fitted(GpuReport(hostname="h", tool="t", gpus=(gpu,) * 96)))) <= MAX_REPORT_BYTES


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpus": [{"index": -1}]},
        {"gpus": [{"index": 0}] * 129},
        {"gpus": [{"index": 0, "utilization": 1.5}]},
        {"gpus": [{"index": 0, "name": "x" * 129}]},
        {"gpus": [{"index": 0, "processes": [{"pid": 1}] * 65}]},
        {"gpus": [{"index": 0, "processes": [{"pid": 1, "command": "x" * 201}]}]},
        {"hostname": ""},
        {"interval": 601},
        {"problem": "x" * 301},
    ],
)
def test_a_report_beyond_the_limits_is_refused(wrong):
    whole = {"hostname": "a", "tool": "t", **wrong}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(whole), type=GpuReport)
