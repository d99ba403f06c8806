"""The monitor, step by step, with a fake process, engine and clock."""

import pytest

from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from tests.unit.babysitter.fake_instance import FakeInstance, models


@pytest.fixture
def instance():
    return FakeInstance()


@pytest.fixture
def running(instance):
    instance.models = models("a")
    instance.advance()
    return instance


def test_an_instance_is_starting_until_it_lists_a_model(instance):
    assert instance.advance() is LifecycleState.STARTING
    assert instance.advance() is LifecycleState.STARTING
    instance.models = models("a")
    assert instance.advance() is LifecycleState.RUNNING
    assert instance.actions == ["REPORT"]
    assert [m["id"] for m in instance.monitor.snapshot.models] == ["a"]


def test_nothing_is_reported_while_nothing_changes(running):
    for _ in range(10):
        running.advance()
        assert running.actions == []


def test_a_failed_poll_changes_nothing(running):
    running.process = None
    assert running.advance() is LifecycleState.RUNNING


def test_a_crash_is_reported_and_models_are_kept_until_the_next_list(running):
    running.process, running.models = ProcessSnapshot("BACKOFF"), []
    assert running.advance() is LifecycleState.STARTING
    assert running.actions == ["REPORT"]
    assert [m["id"] for m in running.monitor.snapshot.models] == ["a"]
    running.process, running.models = ProcessSnapshot("RUNNING", 8), models("b")
    assert running.advance() is LifecycleState.RUNNING
    assert [m["id"] for m in running.monitor.snapshot.models] == ["b"]


def test_an_engine_that_answers_before_its_process_is_polled_does_not_run_yet(running):
    running.process, running.models = ProcessSnapshot("EXITED"), []
    running.advance()
    running.models = models("b")
    assert running.advance() is LifecycleState.STARTING
    running.process = ProcessSnapshot("RUNNING", 8)
    assert running.advance() is LifecycleState.RUNNING


def test_another_pid_is_starting_even_if_the_exit_was_missed(running):
    running.process, running.models = ProcessSnapshot("STARTING", 8), []
    assert running.advance() is LifecycleState.STARTING


def test_a_check_of_the_previous_process_does_not_make_the_next_one_run(instance):
    instance.models = models("a")

    def crash():
        instance.process = ProcessSnapshot("BACKOFF")
        instance.monitor.poll_process()

    instance.during_check = crash
    assert instance.advance() is LifecycleState.STARTING


def test_a_check_that_ends_during_a_stop_does_not_make_it_run(instance):
    instance.models = models("a")

    def stop():
        instance.process = ProcessSnapshot("STOPPING", 7)
        instance.monitor.poll_process()

    instance.during_check = stop
    assert instance.advance() is LifecycleState.DRAINING


def test_models_that_are_loaded_later_are_reported(running):
    running.models = models("a", "lora")
    running.advance(0.5)
    assert len(running.monitor.snapshot.models) == 1  # not asked all the time
    running.advance(10)
    assert running.actions == ["REPORT"]
    assert len(running.monitor.snapshot.models) == 2


def test_a_model_of_the_same_name_from_another_path_is_reported(running):
    running.models = [{"id": "a", "root": "/v1"}]
    running.advance(10)
    assert running.actions == ["REPORT"]
    running.models = [{"id": "a", "root": "/v2"}]
    running.advance(10)
    assert running.actions == ["REPORT"]


def test_a_refresh_finds_new_models_before_the_next_check_is_due(running):
    running.advance(10)
    running.models = models("a", "lora")
    running.advance()
    assert running.actions == []
    running.monitor.refresh_models()
    assert running.actions == ["REPORT"]
    assert [m["id"] for m in running.monitor.snapshot.models] == ["a", "lora"]


@pytest.mark.parametrize("state", ["STOPPING", "STOPPED", "FATAL"])
def test_a_refresh_of_an_instance_that_stops_changes_nothing(running, state):
    running.process = ProcessSnapshot(state, failed=True)
    running.advance()
    before = running.monitor.snapshot
    running.models = models("b")
    running.monitor.refresh_models()
    assert running.monitor.snapshot == before


def test_model_objects_that_differ_only_in_their_time_are_no_change(running):
    running.models = models("a")
    running.advance(10)
    assert running.actions == []


def test_an_engine_that_stops_answering_stays_running_but_is_unhealthy(running):
    running.models = []
    assert running.advance(10) is LifecycleState.RUNNING
    assert running.actions == []
    assert not running.monitor.is_healthy()  # and its /health says so


def test_an_instance_that_is_being_stopped_is_not_healthy(running):
    assert running.monitor.is_healthy()
    running.process = ProcessSnapshot("STOPPING", 7)
    running.advance()
    assert not running.monitor.is_healthy()


def test_the_models_of_a_check_before_a_crash_are_dropped(running):
    running.process, running.models = ProcessSnapshot("BACKOFF"), []
    running.monitor.poll_process()
    assert running.monitor.models() == []


def test_an_instance_that_failed_runs_again_after_a_manual_start(running):
    running.process = ProcessSnapshot("FATAL", restarts=3, failed=True)
    assert running.advance() is LifecycleState.FAILED
    running.process = ProcessSnapshot("STARTING", 9)
    assert running.advance() is LifecycleState.RUNNING


def test_the_end_is_final(running):
    running.actions.clear()
    running.monitor.end()
    assert running.actions == ["DEREGISTER"]
    running.process = ProcessSnapshot("STARTING", 9)
    assert running.advance() is LifecycleState.GONE
    assert running.actions == []


def test_the_reason_why_an_engine_is_not_ready_is_logged_once(instance, caplog):
    caplog.set_level("INFO")

    def logged():
        lines = [record.message for record in caplog.records if "engine" in record.message]
        caplog.clear()
        return lines

    instance.advance()
    assert logged() == []  # a server that still starts need not answer
    instance.reason = "GET /health answers 503"
    instance.advance()
    instance.advance()
    assert logged() == ["qwen: its engine is not ready: GET /health answers 503"]
    instance.models = models("a")
    instance.advance()
    assert logged() == ["qwen: running: its engine is ready, with models that are new"]
    instance.models = []
    for _ in range(3):
        instance.advance(3)
        assert not instance.monitor.is_healthy()
    assert logged() == ["qwen: its engine is not ready: GET /health answers 503"]
    instance.models = models("a")
    instance.advance(3)
    assert instance.monitor.is_healthy()
    assert logged() == ["qwen: its engine is ready again"]


@pytest.fixture
def on_demand():
    return FakeInstance(on_demand=True, models=models("a"))


def test_a_stopped_instance_on_demand_is_asleep_with_the_models_that_are_expected(on_demand):
    on_demand.process = ProcessSnapshot("STOPPED")
    assert on_demand.advance() is LifecycleState.ASLEEP
    assert [m["id"] for m in on_demand.monitor.snapshot.models] == ["a"]
    assert on_demand.checks == 0
    assert not on_demand.monitor.is_healthy()


def test_the_models_of_its_life_replace_the_expected_ones_and_outlast_its_sleep(on_demand):
    on_demand.models = models("b")
    assert on_demand.advance() is LifecycleState.RUNNING
    on_demand.process, on_demand.models = ProcessSnapshot("STOPPED"), []
    assert on_demand.advance() is LifecycleState.ASLEEP
    assert [m["id"] for m in on_demand.monitor.snapshot.models] == ["b"]


def test_another_instance_that_was_stopped_is_not_asleep(running):
    running.process = ProcessSnapshot("STOPPED")
    assert running.advance() is LifecycleState.STOPPED


def test_events_are_observed_with_the_states_before_and_after():
    seen = []
    instance = FakeInstance(observe=lambda *event: seen.append(event))
    instance.models = models("a")
    instance.advance()
    assert seen == [
        (LifecycleState.UNSEEN, LifecycleEvent.SPAWNED, LifecycleState.STARTING),
        (LifecycleState.STARTING, LifecycleEvent.READY, LifecycleState.RUNNING),
    ]


def test_models_are_read_again_although_the_system_time_was_set_back():
    system_time = 7200.0
    instance = FakeInstance(now=lambda: system_time)
    instance.models = models("a")
    instance.advance()
    checks, system_time = instance.checks, 3600.0
    instance.advance(60)
    assert instance.checks == checks + 1
    assert instance.monitor.started == 7200.0
