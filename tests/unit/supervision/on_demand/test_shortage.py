"""What a reason says about the memory that is missing."""

import pytest

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.memory import Room
from svc.supervision.on_demand.placement import Placer
from svc.supervision.on_demand.program import Program

GB = 10**9


@pytest.mark.parametrize(
    ("foreign", "text"),
    [(30 * GB, ", held by chat (always on), other processes (30 GB)"), (10**6, ", held by chat (always on)")],
)
def test_other_processes_are_named_if_they_hold_more_than_a_driver_does(foreign, text):
    chat = Instance(Program("chat:server", (0,), memory=45 * GB), "awake", gpus=(0,))
    code = Instance(Program("code:server", (0,), memory=40 * GB, on_demand=True))
    instances = {"chat:server": chat, "code:server": code}
    host = Host("host-a", instances, {0: GpuMemory(80 * GB, foreign)}, measured=True)
    assert Placer(host, Room(host), code).place().reason.endswith(text)


def test_an_instance_that_is_larger_than_the_gpu_is_compared_with_its_whole_memory():
    chat = Instance(Program("chat:server", (0,), memory=45 * GB, on_demand=True), "awake", gpus=(0,))
    code = Instance(Program("code:server", (0,), memory=90 * GB, on_demand=True))
    host = Host("host-a", {"chat:server": chat, "code:server": code}, {0: GpuMemory(80 * GB)}, measured=True)
    assert Placer(host, Room(host), code).place().reason == "needs 90 GB on 1 GPU; host-a GPU 0 has 80 GB in all"


def test_engines_that_keep_memory_while_they_sleep_are_named():
    chat = Instance(Program("chat:server", (0,), memory=45 * GB, on_demand=True), "asleep", gpus=(0,))
    code = Instance(Program("code:server", (0,), memory=79 * GB, on_demand=True))
    host = Host("host-a", {"chat:server": chat, "code:server": code}, {0: GpuMemory(80 * GB, 2 * GB)}, measured=True)
    reason = Placer(host, Room(host), code).place().reason
    assert reason.endswith("has 78 GB of 80 GB free, held by other processes, chat asleep (2 GB)")
