"""Instances on demand under a real supervisord: their programs start, stop and fail as the extension decides."""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.supervision.client import SupervisordClient
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, InstanceFacts
from svc.supervision.on_demand.on_demand_client import OnDemandClient
from svc.supervision.program_config import SupervisordConfig
from tests.integration.supervision.conftest import Supervisord
from tests.waiting import wait_until

SERVER = "sh -c 'echo GPUS $SVC_GPUS; exec sleep 1000'"
GB = 10**9
ROOM = {"SVC_GPU_MEMORY": str(30 * GB), "SVC_MIN_AWAKE": "0"}
PROGRAMS = {  # name -> command, variables
    "a": (SERVER, {"SVC_ON_DEMAND": "1", "SVC_GPUS": "0", **ROOM}),
    "b": (SERVER, {"SVC_ON_DEMAND": "1", "SVC_GPUS": "0", **ROOM}),
    "counted": (SERVER, {"SVC_ON_DEMAND": "1", "SVC_GPU_COUNT": "1", **ROOM}),
    "broken": ("sh -c 'exit 3'", {"SVC_ON_DEMAND": "1"}),
    "engine": (
        SERVER,
        {"SVC_ON_DEMAND": "1", "SVC_SLEEP": "vllm", "SVC_MIN_AWAKE": "0", "SVC_MAX_RESTARTS": "5"},
    ),
    "other": (SERVER, {}),
}


class Babysitter:
    """Reports about one instance, as its babysitter does."""

    def __init__(self, url: str, name: str) -> None:
        self.name = f"{name}:server"
        self.client = OnDemandClient(url)
        self.used = 0  # memory of GPU 0 that its reading shows

    def report(self, status="asleep", *, wanted=False, **facts):
        demand = Demand(waiting=1, oldest=5.0) if wanted else None
        return self.client.report(self.name, InstanceFacts(status, demand=demand, **{"in_flight": 0, **facts}))

    def report_wanted(self, status="asleep"):
        """Report a demand; take a reading where the order says so."""
        order = self.report(status, wanted=True, has_tool=True)
        if order.action == "measure":
            gpus = (GpuReading(0, 40 * GB, self.used), GpuReading(1, 40 * GB, 0))
            order = self.report(status, wanted=True, has_tool=True, gpus=gpus)
        return order

    def await_start(self):
        wait_until(lambda: self.report_wanted().reason == "started", 15, f"{self.name} starts")
        self.report("starting")
        self.report("running")


@pytest.fixture(scope="module")
def site():
    root = Path(tempfile.mkdtemp(prefix="svc-"))
    it = Supervisord(root)
    for name, (command, variables) in PROGRAMS.items():
        values = {"SVC_MAX_RESTARTS": "0", "SVC_RESTART_DELAY": "0", **variables}
        environment = ",".join(f'{key}="{value}"' for key, value in values.items())
        it.program(name, command, group=name, autostart="false", startsecs=0, environment=environment)
    yield it.start()
    it.end()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def asleep(site):
    """All programs are stopped, before and after the test."""
    yield site
    for name in PROGRAMS:
        site.client.stop(f"{name}:server")


@pytest.fixture
def babysitter(asleep):
    return lambda name: Babysitter(asleep.url, name)


def test_an_instance_gives_way_to_another(asleep, babysitter):
    a, b = babysitter("a"), babysitter("b")
    a.await_start()
    assert asleep.state("a:server") == "RUNNING"
    offer = b.client.offer(b.name)
    assert (offer.possible, offer.now, offer.victims) == (True, False, ("a:server",))
    assert a.report("running", in_flight=99).action == "stay"
    assert not a.client.put_to_sleep(a.name)  # no other instance wants its place yet
    waiting = b.report_wanted()
    assert waiting.action == "wait"
    assert "a (busy)" in waiting.reason
    assert a.report("running", in_flight=0).action == "release"
    assert not a.client.put_to_sleep(a.name)  # it does not drain yet
    a.report("draining", in_flight=1)
    assert not a.client.put_to_sleep(a.name)
    a.report("draining", in_flight=0)
    assert a.client.put_to_sleep(a.name)
    b.await_start()
    assert asleep.state("a:server") == "STOPPED"
    assert asleep.state("b:server") == "RUNNING"


def test_a_start_waits_until_the_memory_is_really_free(asleep, babysitter):
    a = babysitter("a")
    a.used = 20 * GB
    order = a.report_wanted()
    assert order.action == "measure" or "other processes" in order.reason
    assert asleep.state("a:server") == "STOPPED"
    a.used = 0
    a.await_start()


def test_counted_gpus_are_chosen_at_each_start_and_leave_no_trace(asleep, babysitter):
    a, counted = babysitter("a"), babysitter("counted")
    before = asleep.client.configuration()
    a.await_start()
    counted.await_start()
    wait_until(lambda: asleep.log("counted").splitlines()[-1:] == ["GPUS 1"])
    assert counted.client.state()["gpus"][1]["reserved"] == {"counted:server": 30 * GB}
    assert isinstance(before, SupervisordConfig)
    assert asleep.client.configuration() == before
    asleep.client.start("other:server")
    wait_until(lambda: asleep.log("other").splitlines()[-1:] == ["GPUS"])


def test_an_operators_start_and_stop_are_obeyed(asleep, babysitter):
    a, b, counted = babysitter("a"), babysitter("b"), babysitter("counted")
    asleep.ctl("start", "a:server")
    a.report("starting")
    asleep.ctl("start", "counted:server")
    wait_until(lambda: asleep.log("counted").splitlines()[-1:] == ["GPUS 1"])
    assert "a" in b.report_wanted().reason
    asleep.ctl("stop", "a:server")
    asleep.ctl("stop", "counted:server")
    b.await_start()
    assert counted.report().action == "stay"


def test_an_instance_that_fails_to_load_is_started_again_only_after_a_pause(asleep, babysitter):
    broken, a = babysitter("broken"), babysitter("a")
    broken.report(wanted=True)
    asleep.await_state("broken:server", "FATAL")
    order = broken.report("failed", wanted=True)
    assert order.action == "wait"
    assert "it failed to load: Exited with code 3; gave up after 0 restarts; another try in" in order.reason
    assert not broken.client.offer(broken.name).possible
    a.await_start()  # it is not held up


def test_an_engine_that_sleeps_by_itself_is_woken_and_not_stopped(asleep, babysitter):
    engine = babysitter("engine")
    engine.await_start()
    pid = asleep.client.process("engine:server").pid
    assert engine.report("running", sleep=True).action == "release"
    engine.report("draining", sleep=True)
    assert engine.client.put_to_sleep(engine.name)
    assert engine.report("asleep").action == "stay"
    assert engine.report("asleep", wanted=True).action == "wake"
    engine.report("starting", wanted=True)
    engine.report("running")
    assert engine.client.state()["instances"]["engine:server"]["phase"] == "awake"
    assert asleep.client.process("engine:server").pid == pid


def test_an_engine_that_ends_while_it_sleeps_does_not_start_again_at_once(asleep, babysitter):
    """With restart_delay = 0, no babysitter would see that it has ended: it would load while others have its GPUs."""
    engine = babysitter("engine")
    engine.await_start()
    engine.report("asleep")
    os.kill(asleep.client.process("engine:server").pid, signal.SIGKILL)
    asleep.await_state("engine:server", "STOPPED")
    engine.await_start()  # a demand starts it


@pytest.mark.parametrize(
    "facts", ["", "{", "[]", "{}", '{"status": "well"}', '{"status": "asleep", "idle_seconds": -1}', " " * 70000]
)
def test_malformed_facts_are_refused_and_change_nothing(asleep, babysitter, facts):
    a = babysitter("a")
    before = a.client.state()
    with pytest.raises(CommandError, match="a:server"):
        a.client._channel.call_extension("svc.onDemand", a.name, facts, about=a.name)
    assert a.client.state()["instances"].keys() == before["instances"].keys()
    assert asleep.state("a:server") == "STOPPED"


def test_other_programs_are_refused(babysitter):
    with pytest.raises(CommandError, match="other:server"):
        babysitter("other").report()


def test_two_instances_do_not_load_at_once(asleep, babysitter):
    a, counted = babysitter("a"), babysitter("counted")
    assert a.report_wanted().reason == "started"
    assert counted.report_wanted().reason == "a loads first"
    os.kill(asleep.client.process("a:server").pid, signal.SIGKILL)
    started = time.monotonic()
    counted.await_start()
    assert time.monotonic() - started < 5
    assert SupervisordClient(asleep.url).state() == "RUNNING"
