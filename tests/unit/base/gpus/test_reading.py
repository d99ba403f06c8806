"""Which tool is used, what a failing one costs, and what a reading says."""

from svc.base.gpus import amd_smi, nvidia, rocm_smi
from svc.base.gpus.reading import GpuReader, read_gpus
from svc.base.gpus.tool_process import Output
from tests.unit.base.gpus.recorded import output

TOOLS = (nvidia.TOOL, amd_smi.TOOL, rocm_smi.TOOL)


class Machine:
    """A machine with some tools installed, which counts their runs; an answer is an Output or a text."""

    def __init__(self, answers):
        self.answers = answers
        self.runs = []
        self.now = 0.0

    def find(self, program):
        return f"/usr/bin/{program}" if program in {key.split()[0] for key in self.answers} else None

    def run(self, command, timeout):
        program, first = command[0].removeprefix("/usr/bin/"), command[1] if len(command) > 1 else ""
        self.runs.append(f"{program} {first.partition('=')[0]}".strip())
        answer = self.answers.get(self.runs[-1], Output("", f"{program} fails: unknown option"))
        if isinstance(answer, Output) and answer.hangs:
            self.now += timeout
        return answer if isinstance(answer, Output) else Output(answer)

    def reader(self):
        return GpuReader(TOOLS, self.find, self.run, lambda: self.now)


NVIDIA = {
    "nvidia-smi --query-gpu": output("nvidia_535_gpus.csv"),
    "nvidia-smi --query-compute-apps": output("nvidia_535_processes.csv"),
}
AMD = {
    "amd-smi metric": output("amd_smi_6_metric.json"),
    "amd-smi process": output("amd_smi_6_process.json"),
    "amd-smi static": output("amd_smi_static.json"),
}
HANGING = Output("", "nvidia-smi does not answer within 0.4 s", hangs=True)


def test_without_a_tool_there_is_no_reading():
    assert Machine({}).reader().read() is None


def test_a_reading_has_gpus_and_the_processes_with_the_most_memory_first():
    reading = Machine(NVIDIA).reader().read()
    assert (reading.tool, reading.problem, [gpu.index for gpu in reading.gpus]) == ("nvidia-smi", "", [0, 1])
    assert [process.pid for process in reading.gpus[0].processes] == [41231, 41777]


def test_the_first_tool_that_works_is_used_from_then_on():
    machine = Machine({"nvidia-smi --query-gpu": Output("", "nvidia-smi fails: no driver"), **AMD})
    reader = machine.reader()
    assert [reader.read().tool, reader.read().tool] == ["amd-smi", "amd-smi"]
    assert machine.runs == [
        "nvidia-smi --query-gpu",
        "amd-smi metric",
        "amd-smi process",
        "amd-smi static",  # constant values are queried once
        "amd-smi metric",
        "amd-smi process",
    ]


def test_a_tool_that_fails_is_chosen_anew():
    machine = Machine(dict(AMD))
    reader = machine.reader()
    reader.read()
    machine.answers["amd-smi metric"] = Output("", "amd-smi fails: ERROR: 8")
    assert (reader.read().gpus, reader.read().problem) == ((), "amd-smi fails: ERROR: 8")
    machine.answers.update(NVIDIA)
    assert reader.read().tool == "nvidia-smi"


def test_if_no_tool_works_the_first_one_says_why():
    machine = Machine({"nvidia-smi --query-gpu": "No devices were found\n", "rocm-smi --showproductname": "{}"})
    reading = machine.reader().read()
    assert (reading.tool, reading.gpus, reading.problem) == ("nvidia-smi", (), "nvidia-smi: it lists no GPU")


def test_a_tool_that_hangs_costs_the_timeout_once():
    machine = Machine({"nvidia-smi --query-gpu": HANGING, **AMD})
    reading = machine.reader().read(10)
    assert (reading.problem, machine.now) == ("nvidia-smi does not answer within 10 s", 10)
    assert machine.runs == ["nvidia-smi --query-gpu"]


def test_what_is_optional_may_fail_but_a_hang_is_told():
    machine = Machine({"nvidia-smi --query-gpu": NVIDIA["nvidia-smi --query-gpu"]})
    reading = machine.reader().read()
    assert (len(reading.gpus), reading.problem, reading.gpus[0].processes) == (2, "", ())
    machine.answers["nvidia-smi --query-compute-apps"] = HANGING
    reading = machine.reader().read()
    assert (len(reading.gpus), reading.problem) == (2, "nvidia-smi does not answer within 10 s")


def test_gpus_that_a_failing_tool_lists_count():
    failing = Output(output("nvidia_broken_gpus.csv"), "nvidia-smi fails: Unable to determine the device handle")
    reading = Machine({"nvidia-smi --query-gpu": failing}).reader().read()
    assert ([gpu.index for gpu in reading.gpus], reading.problem) == ([0, 2], failing.problem)


def test_read_gpus_finds_a_tool_in_path(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "${1#--query-gpu}" = "$1" ] || echo "0, GPU-1, 100, 40, 5, 30, 20, 0, Fake"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    reading = read_gpus()
    assert [(gpu.name, gpu.memory_used >> 20) for gpu in reading.gpus] == [("Fake", 40)]


def test_a_gpu_with_impossible_numbers_is_left_out_and_named():
    """Otherwise the registry would refuse the whole report, and supervisord's extension all facts of an instance."""
    row = "{index}, GPU-{index}, 81559, 100, 0, 30, 60.0, 0, NVIDIA H100\n"
    answers = {**NVIDIA, "nvidia-smi --query-gpu": row.format(index=0) + row.format(index=10**12)}
    reading = Machine(answers).reader().read()
    assert [gpu.index for gpu in reading.gpus] == [0]
    assert reading.problem == "nvidia-smi: it prints numbers of a GPU that cannot be true"


def test_numbers_of_any_length_end_no_reading():
    huge = "9" * 400
    metric = f'[{{"gpu": 0, "mem_usage": {{"total_vram": {{"value": {huge}, "unit": "MB"}}}}}}]'
    reading = Machine({**AMD, "amd-smi metric": metric}).reader().read()
    assert [gpu.memory_total for gpu in reading.gpus] == [0]
