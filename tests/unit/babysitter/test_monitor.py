"""What is seen, what is known after it, and what is done: driven step by step, with no process and no clock."""

import pytest

from svc.babysitter.engine_status import NO_ANSWER, Answers, Readiness
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import Action, State
from svc.babysitter.monitor import Babysitter
from tests.unit.instance_configs import instance_config


class World:
    """One instance under the test's hand."""

    def __init__(self):
        self.sighting, self.models, self.now, self.asked, self.done = Sighting("RUNNING", 7), [], 0.0, 0, []
        self.meanwhile = lambda: None
        self.reason = NO_ANSWER  # while it has no models
        answers = Answers(["here"], self.check, clock=lambda: self.now)
        effects = {a: lambda a=a: self.done.append(a.name) for a in Action}
        self.sitter = Babysitter(instance_config(), self, answers, effects, clock=lambda: self.now)

    def look(self):
        return self.sighting

    def check(self, url, timeout):
        self.asked += 1
        answer = Readiness(list(self.models), "" if self.models else self.reason)
        self.meanwhile()
        return answer

    def turn(self, seconds=0.5):
        self.now += seconds
        self.done.clear()
        self.sitter.observe()
        self.sitter.ask()
        return self.sitter.picture.state


def models(*names):
    return [{"id": n, "created": object()} for n in names]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def running(world):
    world.models = models("a")
    world.turn()
    return world


def test_an_instance_starts_until_it_lists_a_model(world):
    assert world.turn() is State.STARTING
    assert world.turn() is State.STARTING
    world.models = models("a")
    assert world.turn() is State.RUNNING
    assert world.done == ["TELL"]
    assert [m["id"] for m in world.sitter.picture.models] == ["a"]


def test_while_nothing_happens_nothing_is_told(running):
    for _ in range(10):
        running.turn()
        assert running.done == []


def test_what_cannot_be_seen_changes_nothing(running):
    running.sighting = None
    assert running.turn() is State.RUNNING


def test_a_crash_is_told_and_the_models_are_kept_until_it_lists_its_own(running):
    running.sighting, running.models = Sighting("BACKOFF"), []
    assert running.turn() is State.STARTING
    assert running.done == ["TELL"]
    assert [m["id"] for m in running.sitter.picture.models] == ["a"]
    running.sighting, running.models = Sighting("RUNNING", 8), models("b")
    assert running.turn() is State.RUNNING
    assert [m["id"] for m in running.sitter.picture.models] == ["b"]


def test_another_pid_starts_again_though_nobody_saw_the_old_one_go(running):
    running.sighting, running.models = Sighting("STARTING", 8), []
    assert running.turn() is State.STARTING


def test_an_answer_of_the_process_before_does_not_make_the_next_one_run(world):
    world.models = models("a")

    def crash():
        world.sighting = Sighting("BACKOFF")
        world.sitter.observe()

    world.meanwhile = crash
    assert world.turn() is State.STARTING


def test_an_answer_that_comes_while_it_is_told_to_stop_does_not_make_it_run(world):
    world.models = models("a")

    def stop():
        world.sighting = Sighting("STOPPING", 7)
        world.sitter.observe()

    world.meanwhile = stop
    assert world.turn() is State.DRAINING


def test_models_that_come_later_are_found_and_told(running):
    running.models = models("a", "lora")
    running.turn(0.5)
    assert len(running.sitter.picture.models) == 1  # not asked all the time
    running.turn(10)
    assert running.done == ["TELL"]
    assert len(running.sitter.picture.models) == 2


def test_a_model_under_the_same_name_from_another_path_is_told(running):
    running.models = [{"id": "a", "root": "/v1"}]
    running.turn(10)
    assert running.done == ["TELL"]
    running.models = [{"id": "a", "root": "/v2"}]
    running.turn(10)
    assert running.done == ["TELL"]


def test_a_refresh_finds_new_models_before_the_next_look_is_due(running):
    running.turn(10)
    running.models = models("a", "lora")
    running.turn()
    assert running.done == []
    running.sitter.refresh()
    assert running.done == ["TELL"]
    assert [m["id"] for m in running.sitter.picture.models] == ["a", "lora"]


@pytest.mark.parametrize("state", ["STOPPING", "STOPPED", "FATAL"])
def test_a_refresh_of_an_instance_that_ends_changes_nothing(running, state):
    running.sighting = Sighting(state, failed=True)
    running.turn()
    before = running.sitter.picture
    running.models = models("b")
    running.sitter.refresh()
    assert running.sitter.picture == before


def test_model_objects_that_only_carry_another_time_are_no_change(running):
    running.models = models("a")
    running.turn(10)
    assert running.done == []


def test_a_running_instance_that_falls_silent_is_still_running_for_the_registry(running):
    running.models = []
    assert running.turn(10) is State.RUNNING
    assert running.done == []
    assert not running.sitter.runs()  # and its /health says so


def test_an_instance_that_answers_but_is_being_stopped_does_not_count_as_running(running):
    assert running.sitter.runs()
    running.sighting = Sighting("STOPPING", 7)
    running.turn()
    assert not running.sitter.runs()


def test_an_answer_from_before_the_crash_is_not_passed_on_after_it(running):
    running.sighting, running.models = Sighting("BACKOFF"), []
    running.sitter.observe()
    assert running.sitter.models() == []


def test_restarts_used_up_and_a_start_by_hand(running):
    running.sighting = Sighting("FATAL", restarts=3, failed=True)
    assert running.turn() is State.FAILED
    running.sighting = Sighting("STARTING", 9)
    assert running.turn() is State.RUNNING


def test_the_end_is_final(running):
    running.done.clear()
    running.sitter.end()
    assert running.done == ["LEAVE"]
    running.sighting = Sighting("STARTING", 9)
    assert running.turn() is State.GONE
    assert running.done == []


def test_why_an_engine_is_not_ready_is_logged_once_and_so_is_its_return(world, caplog):
    caplog.set_level("INFO")

    def logged():
        lines = [record.message for record in caplog.records if "engine" in record.message]
        caplog.clear()
        return lines

    world.turn()
    assert logged() == []  # a server that still starts need not answer
    world.reason = "GET /health answers 503"
    world.turn()
    world.turn()
    assert logged() == ["qwen: its engine is not ready: GET /health answers 503"]
    world.models = models("a")
    world.turn()
    assert logged() == ["qwen: running: its engine is ready, with models that are new"]
    world.models = []
    for _ in range(3):
        world.turn(3)
        assert not world.sitter.runs()
    assert logged() == ["qwen: its engine is not ready: GET /health answers 503"]
    world.models = models("a")
    world.turn(3)
    assert world.sitter.runs()
    assert logged() == ["qwen: its engine is ready again"]
