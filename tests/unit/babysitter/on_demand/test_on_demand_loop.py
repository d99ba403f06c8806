"""The loop of an instance on demand: which facts it reports, and how it carries out orders."""

import pytest

from svc.babysitter.engine_status import Readiness
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from svc.babysitter.on_demand.demands import WakeRequest
from svc.babysitter.on_demand.engine_sleep import EngineSleep
from svc.babysitter.on_demand.on_demand_loop import INTERVAL_SECONDS, QUIET_INTERVAL_SECONDS
from svc.base.errors import CommandError, Unavailable
from svc.base.gpus.gpu import HostGpus
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, Order
from tests.unit.babysitter.on_demand.fake_host import STAY, FakeEngine, FakeHost, wait_for

RELEASE = Order("release", "gives way to chat")


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def running(host):
    host.start()
    return host


def rounds(host, count, seconds=0.1):
    for _ in range(count):
        host.advance(seconds)


def test_nothing_is_reported_before_the_process_was_seen(host):
    host.loop.run_round()
    assert host.reported == []


def test_a_stopped_instance_is_asleep_and_wants_nothing(host):
    assert host.advance() == QUIET_INTERVAL_SECONDS
    assert host.state is LifecycleState.ASLEEP
    assert (host.facts.status, host.facts.in_flight, host.facts.demand) == ("asleep", 0, None)
    assert [model["id"] for model in host.instance.monitor.snapshot.models] == ["a"]


def test_a_demand_is_reported_and_the_program_that_was_started_is_looked_at(host):
    host.advance()
    host.loop.facts.wake(WakeRequest(waiting=3, oldest=1.0, by="router"))
    host.orders = [Order("wait", "chat gives way"), Order("stay", "started")]
    assert host.advance() < INTERVAL_SECONDS
    assert host.facts.demand == Demand(3, 1.5, 0.0)
    assert (host.loop.reason, host.polls) == ("chat gives way", 0)
    host.advance(0.2)
    assert host.polls == 1


def test_the_gpus_are_measured_only_when_that_is_ordered(host):
    host.advance()
    host.loop.facts.wake(WakeRequest(waiting=1))
    host.advance()
    assert (host.facts.gpus, host.facts.has_tool, host.measurements) == (None, True, 0)
    host.orders = [Order("measure"), Order("stay", "started")]
    host.advance()
    assert (host.facts.gpus, host.measurements) == ((GpuReading(0, 80, 10),), 1)


@pytest.mark.parametrize("gpus", [None, HostGpus(tool="nvidia-smi", problem="it hangs")])
def test_a_tool_that_fails_is_told_and_logged_once(host, gpus, caplog):
    host.advance()
    host.loop.facts.wake(WakeRequest(hold=600.0))
    host.gpus, host.orders = gpus, [Order("measure")]
    rounds(host, 3)
    assert (host.facts.gpus, host.facts.has_tool) == (None, False)
    assert sum("not measured" in record.message for record in caplog.records) == 1


def test_a_wake_is_measured_and_its_models_are_kept(host):
    host.advance()
    host.start()
    assert [[model["id"] for model in models] for models in host.kept] == [["a"]]
    assert host.facts.load_seconds == 0.0
    assert host.loop.metadata()["load_seconds"] == 0.0


def test_what_waited_counts_no_more_when_the_instance_serves(host):
    host.advance()
    host.loop.facts.wake(WakeRequest(waiting=5))
    host.start()
    assert host.facts.demand is None


def test_an_instance_that_gives_way_drains_before_it_is_stopped(running):
    running.orders = [RELEASE]
    running.in_flight = 1
    running.advance()
    assert running.state is LifecycleState.RELEASING
    assert running.instance.monitor.snapshot.state.status == "draining"
    rounds(running, 50)
    assert running.slept == []
    running.in_flight = 0
    rounds(running, 6)
    assert running.slept == ["qwen:server"]
    assert running.facts.in_flight == 0
    running.stop_process()
    running.orders = [STAY]
    running.advance()
    assert running.state is LifecycleState.ASLEEP
    assert running.history.slept.reason == "gives way to chat"


def test_it_does_not_sleep_before_the_registry_knows_that_it_drains(running):
    running.orders, running.draining_known = [RELEASE], False
    rounds(running, 50)
    assert running.slept == []
    assert "registry" in running.loop.reason
    assert running.facts.delay == "waits until the registry knows that it drains"
    running.orders = [STAY]
    rounds(running, 12)
    assert (running.state, running.facts.delay) == (LifecycleState.RUNNING, "")


def test_an_instance_that_is_needed_again_serves_on(running):
    running.orders, running.in_flight = [RELEASE], 1
    rounds(running, 3)
    running.orders = [STAY, RELEASE]  # the extension measures the memory before it decides again
    running.advance(0.1)
    assert running.state is LifecycleState.RELEASING
    running.advance(0.1)
    running.orders = [STAY]
    rounds(running, 2, seconds=0.4)
    assert running.state is LifecycleState.RUNNING
    assert running.loop.reason == ""


def test_a_void_order_is_not_carried_out(running):
    running.orders, running.may_sleep = [RELEASE], False
    rounds(running, 10)
    assert running.state is LifecycleState.RELEASING
    running.orders = [STAY]
    rounds(running, 2, seconds=0.5)
    assert running.state is LifecycleState.RUNNING


def test_no_request_is_invited_while_the_program_is_being_stopped(running):
    running.orders = [RELEASE]
    rounds(running, 10)
    assert running.slept
    running.orders = [STAY]  # the extension has stopped it, but the babysitter has not seen that yet
    running.advance(0.1)
    assert running.state is LifecycleState.RELEASING


def test_an_idle_instance_asks_for_sleep_and_a_request_ends_that(running):
    running.advance(899)
    assert not running.facts.sleep
    running.advance(2)
    assert running.facts.sleep
    running.orders = [RELEASE]
    running.advance()
    running.advance(0.1)
    assert running.facts.sleep  # also while it drains
    running.in_flight = 1
    running.advance(0.1)
    assert not running.facts.sleep


@pytest.mark.parametrize("config", [{"idle_after": 0}, {"keep": True}, {"on_demand": False}])
def test_some_instances_never_sleep_because_they_are_idle(config):
    host = FakeHost(**config)
    host.start()
    host.advance(100_000)
    assert not host.facts.sleep


def test_an_instance_whose_requests_nobody_counts_is_never_idle(running):
    running.in_flight = None
    running.advance(100_000)
    running.advance(100_000)
    assert (running.facts.in_flight, running.facts.idle_seconds, running.facts.sleep) == (None, 0.0, False)


def test_an_operator_puts_it_to_sleep_although_it_is_held_awake(running):
    running.loop.facts.wake(WakeRequest(hold=3600.0, by="schedule"))
    running.loop.facts.sleep()
    running.advance()
    assert (running.facts.sleep, running.facts.demand) == (True, None)


def test_a_wish_to_stay_awake_ends_the_operator_s_wish(running):
    running.loop.facts.sleep()
    running.loop.facts.wake(WakeRequest(hold=60.0))
    running.advance()
    assert not running.facts.sleep


def test_waking_by_hand_keeps_it_awake_for_its_wake_timeout(host):
    host.advance()
    host.loop.facts.wake(WakeRequest())
    host.advance()
    assert host.facts.demand == Demand(0, 0.0, 599.5)


@pytest.mark.parametrize("failure", [Unavailable("no supervisord answers"), CommandError("older svc"), ValueError("?")])
def test_without_orders_it_keeps_calm_and_says_so_once(running, failure, caplog):
    running.failure = failure
    rounds(running, 20)
    assert running.state is LifecycleState.RUNNING
    assert sum("no orders" in record.message for record in caplog.records) == 1
    assert running.loop.reason
    running.failure = None
    running.advance()
    assert running.loop.reason == ""


def test_an_instance_that_drains_serves_again_if_supervisord_is_silent(running):
    running.orders, running.in_flight = [RELEASE], 1
    rounds(running, 3)
    running.failure = Unavailable("gone")
    running.advance(1)
    assert running.state is LifecycleState.RELEASING
    rounds(running, 2, seconds=5)
    assert running.state is LifecycleState.RUNNING


def test_an_instance_that_hangs_is_not_told_to_drain(running):
    monitor = running.instance.monitor
    monitor.apply(LifecycleEvent.SILENT, monitor.snapshot.process_stage)
    running.orders = [RELEASE]
    rounds(running, 3)
    assert running.state is LifecycleState.HUNG
    assert running.facts.status == "draining"


def test_an_instance_with_gpus_that_is_not_on_demand_only_reports(caplog):
    host = FakeHost(on_demand=False)
    host.instance.process = ProcessSnapshot("STOPPED")
    host.advance()
    assert (host.state, host.loop.metadata()) == (LifecycleState.STOPPED, {})
    host.start()
    assert host.advance() == QUIET_INTERVAL_SECONDS
    assert host.facts.status == "running"


def test_offers_are_shared_for_a_moment(host):
    assert host.loop.offer() is host.loop.offer()
    before = host.loop.offer()
    host.instance.now += 1
    assert host.loop.offer() != before


@pytest.fixture
def sleeper():
    """An instance whose engine sleeps by itself."""
    engine = FakeEngine()
    sleep = EngineSleep(["http://here"], engine.request)
    host = FakeHost(sleep, sleep="vllm")
    host.engine, host.sleep = engine, sleep
    check = host.instance.check
    host.instance.monitor.engine_status.check = sleep.before(lambda url, timeout: check(url, timeout))
    host.start()
    return host


def fall_asleep(host):
    host.orders = [RELEASE]
    rounds(host, 7)
    wait_for(host.sleep)
    host.orders = [STAY]
    host.advance()


def test_an_engine_that_sleeps_by_itself_keeps_its_process(sleeper):
    fall_asleep(sleeper)
    assert sleeper.state is LifecycleState.ASLEEP
    assert (sleeper.engine.sent, sleeper.stopped) == (["POST /sleep?level=1"], 0)
    rounds(sleeper, 10, seconds=6)  # later checks find an engine that lists its models
    assert sleeper.state is LifecycleState.ASLEEP
    assert sleeper.facts.in_flight == 0


def test_it_is_woken_in_its_process_and_checked_before_it_serves(sleeper):
    fall_asleep(sleeper)
    sleeper.loop.facts.wake(WakeRequest(waiting=1))
    sleeper.orders = [Order("wake"), STAY]
    sleeper.advance()
    assert sleeper.state is LifecycleState.STARTING
    wait_for(sleeper.sleep)
    sleeper.advance()
    assert sleeper.state is LifecycleState.RUNNING
    assert sleeper.engine.sent == ["POST /sleep?level=1", "POST /wake_up"]
    assert sleeper.history.woken.reason.startswith("1 request waited")


def test_an_engine_that_cannot_sleep_is_stopped_with_the_cure_in_the_log(sleeper, caplog):
    sleeper.engine.status = 404
    fall_asleep(sleeper)
    assert sleeper.stopped == 1
    assert "VLLM_SERVER_DEV_MODE" in caplog.text


def test_an_engine_that_does_not_wake_is_stopped_so_that_the_next_demand_starts_it(sleeper, caplog):
    fall_asleep(sleeper)
    sleeper.engine.status = 500
    sleeper.loop.facts.wake(WakeRequest(waiting=1))
    sleeper.orders = [Order("wake"), STAY]
    sleeper.advance()
    wait_for(sleeper.sleep)
    assert sleeper.stopped == 1
    assert "CUDA error" in caplog.text


def test_an_engine_that_dies_in_its_sleep_is_not_started_again(sleeper):
    fall_asleep(sleeper)
    sleeper.instance.process, sleeper.instance.models = ProcessSnapshot("BACKOFF"), []
    sleeper.advance()
    assert sleeper.stopped == 1
    sleeper.stop_process()
    sleeper.advance()
    assert sleeper.state is LifecycleState.ASLEEP


def test_an_engine_that_another_program_wakes_or_puts_to_sleep_is_noticed(sleeper):
    fall_asleep(sleeper)
    sleeper.engine.is_sleeping = False
    rounds(sleeper, 2, seconds=6)
    assert sleeper.state is LifecycleState.RUNNING
    sleeper.engine.is_sleeping = True
    rounds(sleeper, 2, seconds=6)
    assert sleeper.state is LifecycleState.ASLEEP


def test_a_babysitter_that_restarts_finds_the_engine_asleep(sleeper):
    sleeper.engine.is_sleeping = True
    after = FakeHost(EngineSleep(["http://here"], sleeper.engine.request), sleep="vllm")
    after.instance.monitor.engine_status.check = after.loop.engine.before(lambda url, timeout: Readiness([{"id": "a"}]))
    after.instance.process = ProcessSnapshot("RUNNING", 7)
    after.advance()
    assert after.state is LifecycleState.ASLEEP


def test_a_program_whose_first_start_fails_is_left_to_supervisord(host):
    host.advance()
    host.instance.process = ProcessSnapshot("BACKOFF")
    host.advance()
    assert host.stopped == 0


def test_an_instance_that_is_stopped_while_it_loads_was_not_stopped_by_an_operator(host):
    host.advance()
    host.instance.process, host.instance.models = ProcessSnapshot("RUNNING", 7), []
    host.orders = [Order("release", "nothing waits for it any more; it failed to load: Exited with code 1")]
    host.advance()
    assert host.state is LifecycleState.STARTING
    host.stop_process()
    host.advance()
    assert host.state is LifecycleState.ASLEEP
    assert host.history.slept.reason == "nothing waits for it any more; it failed to load: Exited with code 1"


def test_of_an_engine_that_is_not_ready_no_requests_are_known(host):
    host.instance.process, host.instance.models = ProcessSnapshot("RUNNING", 7), []
    host.advance()
    assert (host.facts.status, host.facts.in_flight) == ("starting", None)


def test_the_others_are_woken_when_it_begins_to_wait_and_when_it_has_fallen_asleep(running):
    assert running.rings == 0
    running.stop_process()
    rounds(running, 3)
    assert running.rings == 1
    running.loop.facts.wake(WakeRequest(hold=60.0))
    running.orders = [Order("wait", "chat gives way")]
    rounds(running, 3)
    assert running.rings == 2
