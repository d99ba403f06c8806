"""One babysitter of a site reads the GPUs: what it writes, sends and logs, and which one continues when it ends."""

import json
import logging

import pytest

from svc.babysitter.gpu_metrics import gpu_metrics
from svc.babysitter.gpu_reporter import GpuReporter, short_command
from svc.base.errors import NotFound, Unavailable
from svc.base.gpus.gpu import Gpu, GpuProcess, HostGpus

COMMAND = "/opt/venv/bin/python3 -m vllm.api --model secret-model"
PROCESS = GpuProcess(pid=7, memory=40, instance="qwen", command=COMMAND)
GPU = Gpu(index=0, uuid="GPU-1", name="H100", memory_total=100, memory_used=60, utilization=0.5, processes=(PROCESS,))
READING = HostGpus(tool="nvidia-smi", gpus=(GPU,))
HANGING = HostGpus(tool="nvidia-smi", problem="nvidia-smi does not answer within 20 s")


class Reader:
    """A reader that gives the readings of a list, the last one again and again."""

    def __init__(self, *readings):
        self.readings = list(readings)
        self.reads = 0
        self.takes = 0.0
        self.now = 0.0

    def is_installed(self):
        return self.readings[0] is not None

    def read(self, timeout):
        self.reads += 1
        self.now += self.takes
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


@pytest.fixture
def make(tmp_path):
    def make(reader, sent=None, send=None):
        sender = send or (sent.append if sent is not None else None)
        return GpuReporter(tmp_path / "var", "gpu7", sender, reader, lambda: reader.now)

    return make


def test_a_reading_is_written_and_sent_every_5_seconds(make, tmp_path):
    sent = []
    assert make(Reader(READING), sent).run_round() == 5
    (report,) = sent
    assert (report.hostname, report.tool, report.interval, report.gpus[0].memory_used) == ("gpu7", "nvidia-smi", 5, 60)
    written = json.loads((tmp_path / "var" / "gpus.json").read_text())
    assert (written["hostname"], written["gpus"][0]["name"]) == ("gpu7", "H100")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "var").iterdir()] == [0o640, 0o640]


def test_arguments_of_processes_stay_on_the_host(make, tmp_path):
    sent = []
    make(Reader(READING), sent).run_round()
    assert sent[0].gpus[0].processes[0].command == "python3 vllm.api"
    assert "secret-model" not in (tmp_path / "var" / "gpus.json").read_text()


@pytest.mark.parametrize(
    ("command", "short"),
    [
        ("/usr/bin/python3 /home/a/train.py --key x", "python3 train.py"),
        ("python3 -m vllm.api --key x", "python3 vllm.api"),
        ("/opt/llama-server --api-key x", "llama-server"),
        ("x" * 200, "x" * 60),
        ("", ""),
    ],
)
def test_short_commands(command, short):
    assert short_command(command) == short


def test_only_one_babysitter_reads_and_another_goes_on_when_it_ends(make):
    first, second = Reader(READING), Reader(READING)
    reporters = make(first), make(second)
    for _ in range(2):
        assert [reporter.run_round() for reporter in reporters] == [5, 5]
    assert (first.reads, second.reads) == (2, 0)
    assert (reporters[0].latest, reporters[1].latest) == (READING, None)
    first.readings = [None]  # the tool is gone: this one ends
    reporters[0].run_round()
    reporters[1].run_round()
    assert (reporters[0].latest, reporters[1].latest) == (None, READING)


def test_without_a_tool_nothing_is_written_and_no_lock_is_taken(make, tmp_path):
    assert make(Reader(None)).run_round() == 60
    assert not (tmp_path / "var").exists()


def test_a_slow_tool_runs_a_fifth_of_the_time(make):
    reader, sent = Reader(READING), []
    reader.takes = 20.0
    assert make(reader, sent).run_round() == 80
    assert sent[0].interval == 100, "a registry keeps the report until the next one comes"


def test_a_problem_is_logged_once_and_reported(make, caplog):
    sent = []
    reporter = make(Reader(READING, HANGING, HANGING, READING), sent)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            reporter.run_round()
    assert [record.getMessage() for record in caplog.records] == [
        "GPUs: nvidia-smi lists 1",
        "GPUs: nvidia-smi does not answer within 20 s",
        "GPUs: nvidia-smi lists 1",
    ]
    assert [report.problem for report in sent] == ["", HANGING.problem, HANGING.problem, ""]


@pytest.mark.parametrize("error", [Unavailable("no registry"), NotFound("an older registry")])
def test_a_registry_that_does_not_take_the_report_ends_nothing(make, error):
    def send(report):
        raise error

    reporter = make(Reader(READING), send=send)
    assert (reporter.run_round(), reporter.latest) == (5, READING)


def test_a_directory_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    reporter = GpuReporter(tmp_path / "file" / "var", "gpu7", None, Reader(READING))
    assert (reporter.run_round(), reporter.latest) == (5, None)


def samples(reading):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in gpu_metrics(reading, "gpu7")
        for sample in metric.samples
    }


def test_metrics_have_a_sample_for_each_value_that_is_known():
    other = GpuProcess(pid=9, memory=5)
    gpu = Gpu(index=3, memory_total=100, memory_used=60, errors=2, fault="", processes=(PROCESS, PROCESS, other))
    values = samples(HostGpus(tool="nvidia-smi", gpus=(gpu,)))
    assert values == {
        ("svc_gpu_tool_up", "gpu7", "nvidia-smi"): 1,
        ("svc_gpu_memory_bytes", "gpu7", "3"): 100,
        ("svc_gpu_memory_used_bytes", "gpu7", "3"): 60,
        ("svc_gpu_errors", "gpu7", "3"): 2,
        ("svc_gpu_fault", "gpu7", "3"): 0,
        ("svc_gpu_process_memory_bytes", "gpu7", "3", "qwen"): 80,
        ("svc_gpu_process_memory_bytes", "gpu7", "3", ""): 5,
    }
    assert samples(HANGING) == {("svc_gpu_tool_up", "gpu7", "nvidia-smi"): 0}
