"""The facts of GPUs: from the last reading of a babysitter, with the commands of processes of no instance."""

import os

import msgspec

from svc.doctor.collect import gpu_facts
from svc.protocol.gpu_report import READING_FILE, Gpu, GpuProcess, GpuReport

GONE = 2**22 + 1


def test_a_process_of_no_instance_is_described_if_it_is_visible_here(tmp_path):
    own, gone = GpuProcess(pid=os.getpid(), memory=5), GpuProcess(pid=GONE, memory=7)
    server = GpuProcess(pid=1, memory=9, instance="qwen")
    gpus = (Gpu(index=2, uuid="GPU-a", processes=(own, gone, server)), Gpu(index=3, processes=(own,)))
    report = GpuReport(hostname="gpu7", tool="nvidia-smi", gpus=gpus, problem="slow", interval=600.0)
    (tmp_path / READING_FILE).write_bytes(msgspec.json.encode(report))
    facts = gpu_facts.gpus(tmp_path)
    assert {2, 3} <= set(facts.indices)
    assert (facts.uuids, facts.problem, facts.tool, facts.listed) == (["GPU-a"], "slow", "nvidia-smi", gpus)
    (stranger,) = facts.strangers
    assert (stranger.pid, stranger.gpus, stranger.memory) == (os.getpid(), [2, 3], 10)
    assert "python" in stranger.command
