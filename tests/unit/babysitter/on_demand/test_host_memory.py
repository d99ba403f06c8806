"""Whether the memory of the host's GPUs can be measured."""

from svc.babysitter.on_demand.host_memory import RETRY_SECONDS, HostMemory
from svc.base.gpus.gpu import Gpu, HostGpus


class Tool:
    def __init__(self) -> None:
        self.installed, self.works, self.looks, self.now = True, True, 0, 0.0

    def is_installed(self) -> bool:
        self.looks += 1
        return self.installed

    def read(self) -> HostGpus:
        return HostGpus(tool="nvidia-smi", gpus=(Gpu(index=0, memory_total=80),) if self.works else ())


def test_a_tool_is_looked_for_every_30_seconds():
    tool = Tool()
    memory = HostMemory(tool.read, tool.is_installed, lambda: tool.now)
    assert [memory.has_tool() for _ in range(5)] == [True] * 5
    assert tool.looks == 1
    tool.installed, tool.now = False, RETRY_SECONDS
    assert not memory.has_tool()


def test_a_tool_that_fails_does_not_count_for_30_seconds():
    tool = Tool()
    memory = HostMemory(tool.read, tool.is_installed, lambda: tool.now)
    tool.works = False
    assert memory.measure() is None
    assert not memory.has_tool()
    tool.now = RETRY_SECONDS
    assert memory.has_tool()
