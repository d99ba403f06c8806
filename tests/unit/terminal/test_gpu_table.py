"""The table of `svc gpus`: rows, colours, processes of no instance, narrow terminals, hostile names."""

from svc.protocol.gpu_report import Gpu, GpuProcess, ListedHost
from svc.protocol.gpu_use import use_by_host
from svc.terminal.gpu_table import gpu_lines

GB = 10**9
QWEN = GpuProcess(pid=1, memory=60 * GB, instance="qwen", command="python3")
RANK = GpuProcess(pid=2, memory=2 * GB, instance="qwen", command="python3")
OTHER = GpuProcess(pid=4711, memory=3 * GB, command="python3 train.py")
BUSY = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    memory_total=85 * GB,
    memory_used=65 * GB,
    utilization=0.87,
    temperature=64,
    power=412.4,
    errors=0,
    processes=(QWEN, RANK, OTHER),
)


def host(*gpus, hostname="gpu7", problem=""):
    return ListedHost(service="qwen", age=1.0, hostname=hostname, tool="nvidia-smi", gpus=gpus, problem=problem)


def lines(*hosts, width=200):
    return [(line.plain, str(line.style)) for line in gpu_lines(use_by_host(hosts), width)]


def test_a_gpu_has_a_row_and_a_process_of_no_instance_a_line():
    assert lines(host(BUSY)) == [
        ("HOST      GPU  NAME            MEMORY          FREE   BUSY  TEMP   POWER  ERRORS  HELD BY", "bold"),
        ("gpu7      0    H100 80GB HBM3  65 GB of 85 GB  20 GB  87%   64 °C  412 W  0       qwen 62 GB", ""),
        ("  no instance: pid 4711 holds 3 GB: python3 train.py", ""),
    ]


def test_what_is_not_reported_is_empty():
    _, (row, style) = lines(host(Gpu(index=3, name="NVIDIA GB10")))
    assert (row.split(), style) == (["gpu7", "3", "GB10"], "")


def test_hosts_are_sorted_and_their_problems_shown():
    table = lines(host(BUSY, hostname="b"), host(hostname="a", problem="nvidia-smi does not answer within 20 s"))
    assert [row[0] for row, _ in table] == ["H", "a", " ", "b", " "]
    assert table[2] == ("  nvidia-smi does not answer within 20 s", "red")


def test_errors_and_faults_have_colours():
    worn = Gpu(index=0, memory_total=GB, errors=2)
    broken = Gpu(index=1, memory_total=GB, fault="GPU requires reset")
    assert [style for _, style in lines(host(worn, broken))] == ["bold", "yellow", "red", "red"]
    assert lines(host(worn, broken))[-1][0] == "  GPU requires reset"


def test_a_tool_that_complains_and_lists_gpus_has_both():
    table = lines(host(BUSY, problem="nvidia-smi fails: device 3 is lost"))
    assert ("  nvidia-smi fails: device 3 is lost", "yellow") in table


def test_of_many_other_processes_the_rest_is_counted():
    gpu = Gpu(index=0, processes=tuple(GpuProcess(pid=pid) for pid in range(1, 9)))
    shown = [row for row, _ in lines(host(gpu))]
    assert shown[2] == "  no instance: pid 1: its command is not visible"
    assert shown[-1] == "  no instance: 5 more processes"


def test_a_narrow_terminal_loses_columns_and_keeps_memory_and_holders():
    head = lines(host(BUSY), width=50)[0][0].split()
    assert head == ["HOST", "GPU", "MEMORY", "BUSY", "ERRORS", "HELD", "BY"]


def test_names_cannot_control_the_terminal():
    process = GpuProcess(pid=1, memory=GB, command="\x1b[2J")
    gpu = Gpu(index=0, name="\x1b[31mX", processes=(process, GpuProcess(pid=2, memory=GB, instance="\x07")))
    assert all(row.isprintable() for row, _ in lines(host(gpu, hostname="h\x1b\n")))
