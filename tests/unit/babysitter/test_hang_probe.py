"""The rounds of the hang probe, with a fake process, engine and clock."""

import pytest

from svc.babysitter.hang_probe import HangProbe
from svc.babysitter.health_rules import UNKNOWN_LOAD, EngineLoad, ProbeOutcome
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.restarter import Restarter
from svc.base.errors import Unavailable
from tests.unit.babysitter.fake_instance import FakeInstance, models


class ProbedInstance(FakeInstance):
    """A running instance; `outcome` is what a probe gets, `tokens` counts those of other requests."""

    def __init__(self):
        super().__init__()
        self.outcome, self.tokens, self.probed, self.ended = ProbeOutcome.GENERATED, None, [], []
        self.supervisord_away = False
        self.during_probe = lambda: None
        self.models = models("a", "b")
        self.restarter = Restarter("qwen", self.end)
        self.hang_probe = HangProbe(self.monitor, self.send, self.load, self.restarter, clock=lambda: self.now)
        self.advance()

    def send(self, model):
        self.probed.append(model)
        self.during_probe()
        return self.outcome, "" if self.outcome is ProbeOutcome.GENERATED else "no token"

    def load(self, max_age):
        return UNKNOWN_LOAD if self.tokens is None else EngineLoad("engine", (str(self.tokens),))

    def end(self, pid, reason):
        if self.supervisord_away:
            raise Unavailable("no supervisord answers")
        self.ended.append((pid, reason))
        return True

    def run_round(self):
        self.hang_probe.run_round()
        return self.hang_probe.last.outcome

    @property
    def state(self):
        return self.monitor.snapshot.state


@pytest.fixture
def instance():
    return ProbedInstance()


@pytest.fixture
def silent(instance):
    instance.outcome = ProbeOutcome.SILENT
    return instance


def test_the_probe_requests_a_token_of_the_first_model(instance):
    assert instance.run_round() is ProbeOutcome.GENERATED
    assert instance.probed == ["a"]
    assert instance.state is LifecycleState.RUNNING


def test_no_probe_is_sent_while_other_requests_make_tokens(instance):
    instance.tokens = 1
    instance.run_round()
    instance.tokens = 2
    assert instance.run_round() is ProbeOutcome.MOVED
    assert instance.run_round() is ProbeOutcome.GENERATED
    assert len(instance.probed) == 2


def test_the_probe_s_own_tokens_do_not_count_as_other_requests(instance):
    instance.tokens = 1
    instance.during_probe = lambda: setattr(instance, "tokens", instance.tokens + 1)
    assert [instance.run_round() for _ in range(3)] == [ProbeOutcome.GENERATED] * 3


def test_one_failure_makes_it_hung_and_one_token_running_again(silent):
    assert silent.run_round() is ProbeOutcome.SILENT
    assert silent.state is LifecycleState.HUNG
    assert not silent.monitor.is_healthy()
    silent.outcome = ProbeOutcome.GENERATED
    silent.run_round()
    assert silent.state is LifecycleState.RUNNING
    assert silent.hang_probe.last.failures == 0
    assert silent.ended == []


def test_failures_in_a_row_restart_it_once(silent):
    for _ in range(5):
        silent.run_round()
    assert silent.ended == [(7, "hung: no token (3 in a row)")]
    assert silent.restarter.counts == {"hung": 1}


def test_a_model_list_does_not_end_the_hung_state(silent):
    silent.run_round()
    silent.advance(60)
    assert silent.state is LifecycleState.HUNG


def test_a_probe_that_fails_while_other_requests_move_is_no_failure(silent):
    silent.tokens = 1
    silent.during_probe = lambda: setattr(silent, "tokens", silent.tokens + 1)
    for _ in range(9):
        assert silent.run_round() is ProbeOutcome.BUSY
        assert silent.state is LifecycleState.RUNNING
    assert silent.ended == []


def test_tokens_of_other_requests_end_the_hung_state(silent):
    silent.tokens = 1
    silent.run_round()
    silent.run_round()
    silent.tokens = 2
    assert silent.run_round() is ProbeOutcome.MOVED
    assert (silent.state, silent.hang_probe.last.failures) == (LifecycleState.RUNNING, 0)


def test_a_restart_is_requested_again_while_supervisord_is_away(silent, caplog):
    silent.supervisord_away = True
    for _ in range(5):
        silent.run_round()
    assert caplog.text.count("cannot restart it: no supervisord answers") == 1
    silent.supervisord_away = False
    silent.run_round()
    assert silent.ended == [(7, "hung: no token (6 in a row)")]


def test_an_instance_that_loads_its_models_is_not_probed(instance):
    instance.process, instance.models = ProcessSnapshot("RUNNING", 8), []
    instance.advance()
    assert instance.run_round() is None
    assert instance.probed == []


def test_failures_are_counted_per_process(silent):
    silent.run_round()
    silent.run_round()
    silent.process = ProcessSnapshot("RUNNING", 8)
    silent.advance()
    assert silent.state is LifecycleState.RUNNING
    silent.run_round()
    assert silent.hang_probe.last.failures == 1
    assert silent.ended == []


def test_the_outcome_for_a_process_that_has_ended_is_discarded(silent):
    def crash():
        silent.process = ProcessSnapshot("BACKOFF")
        silent.monitor.poll_process()

    silent.during_probe = crash
    silent.run_round()
    assert silent.state is LifecycleState.STARTING
    assert silent.hang_probe.counts == {}


def test_an_engine_that_refuses_probes_is_left_alone_and_logged_once(instance, caplog):
    instance.outcome = ProbeOutcome.REFUSED
    for _ in range(3):
        assert instance.run_round() is ProbeOutcome.REFUSED
    assert instance.state is LifecycleState.RUNNING
    assert caplog.text.count("a probe shows nothing here") == 1


def test_without_a_supervisor_a_hang_is_logged_but_not_restarted(silent, caplog):
    silent.restarter.end_process = None
    for _ in range(5):
        silent.run_round()
    assert silent.state is LifecycleState.HUNG
    assert caplog.text.count("nothing supervises it here: restart it yourself") == 1
    assert silent.restarter.counts == {}
