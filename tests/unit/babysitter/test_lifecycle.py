"""The lifecycle table: the state and the actions after each event."""

import pytest

from svc.babysitter.lifecycle import TABLE, Action, LifecycleEvent, LifecycleState, step
from svc.protocol.service import STATUSES

STATUS_AFTER = {
    LifecycleEvent.SPAWNED: "starting",
    LifecycleEvent.EXITED: "starting",
    LifecycleEvent.STOPPING: "draining",
    LifecycleEvent.STOPPED: "stopped",
    LifecycleEvent.SLEEPS: "asleep",
    LifecycleEvent.GAVE_UP: "failed",
}


def walk(*events):
    """Return the states that are reported to the registry."""
    state, reported = LifecycleState.UNSEEN, []
    for event in events:
        state, actions = step(state, event)
        if Action.REPORT in actions:
            reported.append(state.value)
    return reported


def test_every_state_in_between_is_a_status_of_the_registry():
    assert {s.status for s in LifecycleState} - {"", "gone"} == set(STATUSES) - {"stopping"}


def test_every_state_is_in_the_table():
    assert set(TABLE) == set(LifecycleState)


@pytest.mark.parametrize("state", [s for s in LifecycleState if s is not LifecycleState.GONE])
@pytest.mark.parametrize("event", STATUS_AFTER)
def test_events_of_supervisord_are_possible_in_every_state(state, event):
    after, actions = step(state, event)
    assert after.value == STATUS_AFTER[event]
    assert (Action.REPORT in actions) == (after is not state)


@pytest.mark.parametrize(
    "state",
    [
        LifecycleState.UNSEEN,
        LifecycleState.DRAINING,
        LifecycleState.STOPPED,
        LifecycleState.FAILED,
        LifecycleState.ASLEEP,
    ],
)
def test_an_instance_without_a_process_cannot_become_ready(state):
    with pytest.raises(ValueError, match=f"{state.name} cannot have READY"):
        step(state, LifecycleEvent.READY)


@pytest.mark.parametrize("state", LifecycleState)
def test_the_engine_of_a_new_process_is_checked(state):
    _, actions = step(state, LifecycleEvent.SPAWNED)
    assert (Action.CHECK_ENGINE in actions) == (state is not LifecycleState.GONE)


@pytest.mark.parametrize("state", [s for s in LifecycleState if s is not LifecycleState.GONE])
def test_the_end_deregisters_in_every_state(state):
    assert step(state, LifecycleEvent.BABYSITTER_ENDS) == (LifecycleState.GONE, (Action.DEREGISTER,))


@pytest.mark.parametrize("event", LifecycleEvent)
def test_nothing_happens_after_the_end(event):
    assert step(LifecycleState.GONE, event) == (LifecycleState.GONE, ())


def test_models_that_change_while_it_runs_are_reported():
    assert step(LifecycleState.RUNNING, LifecycleEvent.READY) == (LifecycleState.RUNNING, (Action.REPORT,))


def test_a_crash_and_its_restart_are_reported():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.EXITED,
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
    )
    assert walk(*life) == ["starting", "running", "starting", "running"]


def test_a_manual_stop_and_start_are_reported():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.STOPPING,
        LifecycleEvent.STOPPED,
        LifecycleEvent.SPAWNED,
    )
    assert walk(*life) == ["starting", "running", "draining", "stopped", "starting"]


def test_an_instance_that_keeps_dying_is_reported_twice_only():
    assert walk(*[LifecycleEvent.SPAWNED, LifecycleEvent.EXITED] * 5, LifecycleEvent.GAVE_UP) == ["starting", "failed"]


def test_a_hung_instance_drains_until_it_generates_again():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.SILENT,
        LifecycleEvent.SILENT,
        LifecycleEvent.READY,
        LifecycleEvent.GENERATES,
    )
    assert walk(*life) == ["starting", "running", "hung", "running"]
    assert LifecycleState.HUNG.status == "draining"


def test_a_hung_instance_that_is_restarted_runs_again():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.SILENT,
        LifecycleEvent.EXITED,
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
    )
    assert walk(*life) == ["starting", "running", "hung", "starting", "running"]


def test_an_instance_with_a_pending_restart_drains():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.RESTART_PENDING,
        LifecycleEvent.EXITED,
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
    )
    assert walk(*life) == ["starting", "running", "draining", "starting", "running"]


def test_an_instance_on_demand_drains_before_it_sleeps_and_starts_when_it_is_woken():
    life = (
        LifecycleEvent.SLEEPS,
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.RELEASED,
        LifecycleEvent.STOPPING,
        LifecycleEvent.SLEEPS,
        LifecycleEvent.SPAWNED,
    )
    assert walk(*life) == ["asleep", "starting", "running", "releasing", "draining", "asleep", "starting"]
    assert LifecycleState.RELEASING.status == "draining"


def test_an_instance_that_is_needed_again_before_it_sleeps_runs_on():
    life = (
        LifecycleEvent.SPAWNED,
        LifecycleEvent.READY,
        LifecycleEvent.RELEASED,
        LifecycleEvent.READY,
        LifecycleEvent.RELEASED,
        LifecycleEvent.KEPT,
    )
    assert walk(*life) == ["starting", "running", "releasing", "running"]


def test_an_engine_that_sleeps_and_wakes_in_the_same_process_is_checked_before_it_runs():
    life = (LifecycleEvent.SPAWNED, LifecycleEvent.READY, LifecycleEvent.RELEASED, LifecycleEvent.SLEEPS)
    assert walk(*life, LifecycleEvent.WAKES, LifecycleEvent.READY)[-3:] == ["asleep", "starting", "running"]
    assert Action.CHECK_ENGINE in step(LifecycleState.ASLEEP, LifecycleEvent.WAKES)[1]


def test_an_instance_that_hangs_while_it_drains_is_not_put_to_sleep():
    life = (LifecycleEvent.SPAWNED, LifecycleEvent.READY, LifecycleEvent.RELEASED, LifecycleEvent.SILENT)
    assert walk(*life)[-1] == "hung"
