"""The rounds of a probe, with no process and no clock."""

import pytest

from svc.babysitter.hang_probe import Prober
from svc.babysitter.health_rules import NOTHING, Reading, Sign
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import State
from svc.babysitter.restarter import Remedy
from svc.base.errors import Unavailable
from tests.unit.babysitter.test_monitor import World, models


class Probing(World):
    """An instance that runs; `answers` is what a probe gets, `tokens` what other requests have made."""

    def __init__(self):
        super().__init__()
        self.answer, self.tokens, self.asked_for, self.ended, self.refuses = Sign.GENERATED, None, [], [], False
        self.models = models("a", "b")
        self.remedy = Remedy("qwen", self.end)
        self.prober = Prober(self.sitter, self.put, self.reading, self.remedy, clock=lambda: self.now)
        self.turn()

    def put(self, model):
        self.asked_for.append(model)
        self.meanwhile()
        return self.answer, "" if self.answer is Sign.GENERATED else "no token"

    def reading(self):
        return NOTHING if self.tokens is None else Reading("engine", (str(self.tokens),))

    def end(self, pid, reason):
        if self.refuses:
            raise Unavailable("no supervisord answers")
        self.ended.append((pid, reason))
        return True

    def round(self):
        self.prober.round()
        return self.prober.last.sign

    @property
    def state(self):
        return self.sitter.picture.state


@pytest.fixture
def world():
    return Probing()


@pytest.fixture
def silent(world):
    world.answer = Sign.SILENT
    return world


def test_its_first_model_is_asked_for_a_token(world):
    assert world.round() is Sign.GENERATED
    assert world.asked_for == ["a"]
    assert world.state is State.RUNNING


def test_other_requests_that_move_spare_the_question(world):
    world.tokens = 1
    world.round()
    world.tokens = 2
    assert world.round() is Sign.MOVED
    assert world.round() is Sign.GENERATED
    assert len(world.asked_for) == 2


def test_what_the_probe_itself_has_moved_is_no_other_traffic(world):
    world.tokens = 1
    world.meanwhile = lambda: setattr(world, "tokens", world.tokens + 1)
    assert [world.round() for _ in range(3)] == [Sign.GENERATED] * 3


def test_a_first_failure_takes_it_out_and_a_token_brings_it_back(silent):
    assert silent.round() is Sign.SILENT
    assert silent.state is State.HUNG
    assert not silent.sitter.runs()
    silent.answer = Sign.GENERATED
    silent.round()
    assert silent.state is State.RUNNING
    assert silent.prober.last.failures == 0
    assert silent.ended == []


def test_failures_in_a_row_end_it_once(silent):
    for _ in range(5):
        silent.round()
    assert silent.ended == [(7, "hung: no token (3 in a row)")]
    assert silent.remedy.counts == {"hung": 1}


def test_it_is_told_once_a_round_and_its_models_do_not_make_it_run(silent):
    silent.round()
    silent.turn(60)
    assert silent.state is State.HUNG


def test_a_probe_that_fails_while_tokens_move_does_not_count(silent):
    silent.tokens = 1
    silent.meanwhile = lambda: setattr(silent, "tokens", silent.tokens + 1)
    for _ in range(9):
        assert silent.round() is Sign.BUSY
        assert silent.state is State.RUNNING
    assert silent.ended == []


def test_tokens_that_move_bring_it_back(silent):
    silent.tokens = 1
    silent.round()
    silent.round()
    silent.tokens = 2
    assert silent.round() is Sign.MOVED
    assert (silent.state, silent.prober.last.failures) == (State.RUNNING, 0)


def test_a_supervisord_that_does_not_listen_is_asked_again(silent, caplog):
    silent.refuses = True
    for _ in range(5):
        silent.round()
    assert caplog.text.count("cannot restart it: no supervisord answers") == 1
    silent.refuses = False
    silent.round()
    assert silent.ended == [(7, "hung: no token (6 in a row)")]


def test_one_that_loads_its_models_is_not_asked(world):
    world.sighting, world.models = Sighting("RUNNING", 8), []
    world.turn()
    assert world.round() is None
    assert world.asked_for == []


def test_another_process_begins_without_a_past(silent):
    silent.round()
    silent.round()
    silent.sighting = Sighting("RUNNING", 8)
    silent.turn()
    assert silent.state is State.RUNNING
    silent.round()
    assert silent.prober.last.failures == 1
    assert silent.ended == []


def test_an_answer_about_a_process_that_is_gone_meanwhile_is_nothing(silent):
    def crash():
        silent.sighting = Sighting("BACKOFF")
        silent.sitter.observe()

    silent.meanwhile = crash
    silent.round()
    assert silent.state is State.STARTING
    assert silent.prober.counts == {}


def test_one_that_does_nothing_of_the_kind_is_left_alone_and_the_log_says_so_once(world, caplog):
    world.answer = Sign.REFUSED
    for _ in range(3):
        assert world.round() is Sign.REFUSED
    assert world.state is State.RUNNING
    assert caplog.text.count("a probe shows nothing here") == 1


def test_alone_it_is_told_and_left_to_others(silent, caplog):
    silent.remedy.end = None
    for _ in range(5):
        silent.round()
    assert silent.state is State.HUNG
    assert caplog.text.count("nothing supervises it here: restart it yourself") == 1
    assert silent.remedy.counts == {}
