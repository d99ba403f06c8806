"""Who uses the GPUs of each host, from the reports of one or several sites."""

from svc.protocol.gpu_report import Gpu, GpuProcess, ListedHost
from svc.protocol.gpu_use import use_by_host

GB = 10**9


def host(name: str, *gpus: Gpu, service: str = "babysitter", age: float = 1.0) -> ListedHost:
    return ListedHost(service=service, hostname=name, age=age, tool="nvidia-smi", gpus=gpus)


def gpu(used: int, *processes: GpuProcess) -> Gpu:
    return Gpu(index=0, name="H100", memory_total=80 * GB, memory_used=used, processes=processes)


def process(pid: int, memory: int | None = GB, instance: str = "", command: str = "python") -> GpuProcess:
    return GpuProcess(pid=pid, memory=memory, instance=instance, command=command)


def test_memory_is_added_up_for_each_instance_and_strangers_are_listed():
    processes = [process(1, 3 * GB, "qwen"), process(2, GB, "qwen"), process(3, 2 * GB, command="train.py")]
    (use,) = use_by_host([host("a", gpu(7 * GB, *processes))])["a"].gpus
    assert use.held == {"qwen": 4 * GB}
    assert [(process.pid, process.command) for process in use.strangers] == [(3, "train.py")]


def test_memory_that_the_tool_does_not_report_is_unknown_not_zero():
    (use,) = use_by_host([host("a", gpu(GB, process(1, None, "qwen"), process(2, GB, "qwen")))])["a"].gpus
    assert use.held == {"qwen": None}


def test_two_sites_of_one_host_share_its_entry():
    one = host("a", gpu(GB, process(1, GB, "qwen"), process(2)), age=4, service="one")
    other = host("a", gpu(2 * GB, process(1), process(2, GB, "chat")), age=1, service="other")
    for reports in ([one, other], [other, one]):
        (use,) = use_by_host(reports)["a"].gpus
        assert use.gpu.memory_used == 2 * GB, "the newest report"
        assert use.held == {"qwen": GB, "chat": GB}
        assert use.strangers == []


def test_hosts_are_sorted_by_name():
    assert list(use_by_host([host("b"), host("a")])) == ["a", "b"]
