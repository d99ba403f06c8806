"""The offer of a host whose GPUs have not been read yet."""

import pytest

from svc.supervision.on_demand.host import GpuMemory, Host, Instance
from svc.supervision.on_demand.instance_facts import InstanceFacts
from svc.supervision.on_demand.offer import make_offer
from svc.supervision.on_demand.program import Program

GB = 10**9


def host(has_tool: bool, measured: bool) -> Host:
    """Return a host on which `chat`, which is always on, holds a part of the GPU that `code` needs."""
    code = Program("code", gpus=(0,), memory=36 * GB, on_demand=True)
    instances = {
        "chat": Instance(Program("chat", gpus=(0,), memory=38 * GB), phase="awake", gpus=(0,)),
        "code": Instance(code, facts=InstanceFacts(status="asleep", has_tool=has_tool), gpus=(0,)),
    }
    gpus = {0: GpuMemory(total=40 * GB if measured else None)}
    return Host("gpu1", instances, gpus, measured)


def test_a_size_that_is_not_read_yet_does_not_make_a_wake_impossible():
    offer = make_offer(host(has_tool=True, measured=False), "code")
    assert (offer.possible, offer.now, offer.reason) == (True, False, "reads the memory of the GPUs")


@pytest.mark.parametrize(("has_tool", "measured"), [(False, False), (True, True)])
def test_a_full_gpu_makes_a_wake_impossible(has_tool, measured):
    offer = make_offer(host(has_tool, measured), "code")
    assert not offer.possible
    assert "held by chat" in offer.reason
