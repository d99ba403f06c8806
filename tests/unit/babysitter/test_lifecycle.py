"""The table against the contract's: what each event makes the registry say."""

import pytest

from svc.babysitter.lifecycle import TABLE, Action, Event, State, step
from svc.protocol.service import STATUSES

TOLD = {
    Event.SPAWNED: "starting",
    Event.EXITED: "starting",
    Event.STOPPING: "draining",
    Event.STOPPED: "stopped",
    Event.GAVE_UP: "failed",
}


def walk(*events):
    state, told = State.UNSEEN, []
    for event in events:
        state, actions = step(state, event)
        if Action.TELL in actions:
            told.append(state.value)
    return told


def test_every_state_but_the_first_and_the_last_is_a_status_of_the_registry():
    assert {s.status for s in State} - {"", "gone"} == set(STATUSES) - {"stopping"}


def test_every_state_is_in_the_table():
    assert set(TABLE) == set(State)


@pytest.mark.parametrize("state", [s for s in State if s is not State.GONE])
@pytest.mark.parametrize("event", TOLD)
def test_what_supervisord_says_counts_wherever_it_comes_from(state, event):
    after, actions = step(state, event)
    assert after.value == TOLD[event]
    assert (Action.TELL in actions) == (after is not state)


@pytest.mark.parametrize("state", [State.UNSEEN, State.DRAINING, State.STOPPED, State.FAILED])
def test_an_instance_without_a_process_cannot_answer(state):
    with pytest.raises(ValueError, match=f"{state.name} cannot have ANSWERED"):
        step(state, Event.ANSWERED)


@pytest.mark.parametrize("state", State)
def test_a_new_process_is_asked_for_its_models(state):
    _, actions = step(state, Event.SPAWNED)
    assert (Action.ASK in actions) == (state is not State.GONE)


@pytest.mark.parametrize("state", [s for s in State if s is not State.GONE])
def test_the_end_takes_the_registrations_away_from_everywhere(state):
    assert step(state, Event.ENDING) == (State.GONE, (Action.LEAVE,))


@pytest.mark.parametrize("event", Event)
def test_nothing_is_told_after_the_end(event):
    assert step(State.GONE, event) == (State.GONE, ())


def test_models_that_change_while_it_runs_are_told():
    assert step(State.RUNNING, Event.ANSWERED) == (State.RUNNING, (Action.TELL,))


def test_a_crash_and_its_restart_are_told_in_three_words():
    life = (Event.SPAWNED, Event.ANSWERED, Event.EXITED, Event.SPAWNED, Event.ANSWERED)
    assert walk(*life) == ["starting", "running", "starting", "running"]


def test_a_stop_by_hand_and_a_start():
    life = (Event.SPAWNED, Event.ANSWERED, Event.STOPPING, Event.STOPPED, Event.SPAWNED)
    assert walk(*life) == ["starting", "running", "draining", "stopped", "starting"]


def test_an_instance_that_keeps_dying_is_told_twice_only():
    assert walk(*[Event.SPAWNED, Event.EXITED] * 5, Event.GAVE_UP) == ["starting", "failed"]


def test_one_that_hangs_drains_until_it_speaks_again():
    life = (Event.SPAWNED, Event.ANSWERED, Event.SILENT, Event.SILENT, Event.ANSWERED, Event.SPOKE)
    assert walk(*life) == ["starting", "running", "hung", "running"]
    assert State.HUNG.status == "draining"


def test_one_that_hangs_and_is_restarted():
    life = (Event.SPAWNED, Event.ANSWERED, Event.SILENT, Event.EXITED, Event.SPAWNED, Event.ANSWERED)
    assert walk(*life) == ["starting", "running", "hung", "starting", "running"]


def test_one_that_is_to_be_restarted_once_idle_drains():
    life = (Event.SPAWNED, Event.ANSWERED, Event.RETIRED, Event.EXITED, Event.SPAWNED, Event.ANSWERED)
    assert walk(*life) == ["starting", "running", "draining", "starting", "running"]
