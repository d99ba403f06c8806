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
