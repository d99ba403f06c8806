"""The memory of the GPUs before a start, also if the vendor's tool is slow, fails or is missing."""

import threading

import pytest

from svc.babysitter.on_demand import host_memory
from svc.babysitter.on_demand.host_memory import RETRY_SECONDS, HostMemory, memory_tool
from svc.base.gpus.gpu import Gpu, HostGpus
from svc.base.gpus.reading import TOOLS
from svc.supervision.on_demand.instance_facts import MAX_BYTES, GpuReading

GPUS = HostGpus(tool="nvidia-smi", gpus=(Gpu(index=1, memory_total=80, memory_used=10),))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_memory_is_measured_anew_each_time(clock):
    readings = iter([GPUS, HostGpus(tool="x", gpus=(Gpu(index=0, memory_total=1 << 50, memory_used=5),))])
    memory = HostMemory(lambda: next(readings), lambda: True, clock)
    assert memory.measure() == (GpuReading(1, 80, 10),)
    assert memory.measure() == (GpuReading(0, min(1 << 50, MAX_BYTES), 5),)


def test_a_slow_tool_is_not_waited_for_and_its_reading_comes_later(clock, monkeypatch):
    monkeypatch.setattr(host_memory, "WAIT_SECONDS", 0.01)
    may_end, runs = threading.Event(), []

    def read():
        runs.append(1)
        may_end.wait(5)
        return GPUS

    memory = HostMemory(read, lambda: True, clock)
    assert memory.measure() is None
    assert memory.measure() is None
    assert memory.has_tool()  # it has not failed
    may_end.set()
    monkeypatch.setattr(host_memory, "WAIT_SECONDS", 5)
    assert memory.measure() == (GpuReading(1, 80, 10),)
    assert len(runs) == 1


def test_a_tool_that_fails_is_tried_again_later(clock, caplog):
    memory = HostMemory(lambda: HostGpus(tool="nvidia-smi", problem="it hangs"), lambda: True, clock)
    assert memory.has_tool()
    for _ in range(3):
        assert memory.measure() is None
    assert not memory.has_tool()
    assert [record.message for record in caplog.records] == [
        "the memory of the GPUs is not measured before a start: it hangs"
    ]
    clock.now += RETRY_SECONDS
    assert memory.has_tool()


def test_a_reading_that_raises_counts_as_failed(clock):
    def read():
        raise OSError

    memory = HostMemory(read, lambda: True, clock)
    assert memory.measure() is None
    assert not memory.has_tool()


def test_without_a_tool_nothing_is_measured(clock):
    assert not HostMemory(lambda: None, lambda: False, clock).has_tool()


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.program)
def test_only_the_query_with_the_memory_is_sent(tool):
    short = memory_tool(tool)
    assert short.queries == tool.queries[:1]
    with pytest.raises(ValueError, match="."):
        short.parse(["nothing"])  # and not IndexError, because the optional outputs are missing


def test_a_tool_is_looked_for_every_30_seconds(clock):
    looks = []
    memory = HostMemory(lambda: GPUS, lambda: not looks.append(1), clock)
    assert [memory.has_tool() for _ in range(5)] == [True] * 5
    assert len(looks) == 1
    clock.now += RETRY_SECONDS
    memory.has_tool()
    assert len(looks) == 2
