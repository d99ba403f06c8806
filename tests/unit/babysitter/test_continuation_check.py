"""The rounds of the continuation check, with a fake process and verdicts."""

import dataclasses

import pytest

from svc.babysitter.continuation_check import RETRY_SECONDS, ContinuationCheck
from svc.babysitter.continuation_probe import Verdict
from svc.babysitter.instance_watch import ProcessSnapshot
from svc.babysitter.lifecycle import LifecycleEvent, LifecycleState
from tests.unit.babysitter.fake_instance import FakeInstance, models

YES, NO, LATER = Verdict(True), Verdict(False, True, "it answers 404"), Verdict(False, False, "no answer within 30 s")


class CheckedInstance(FakeInstance):
    """An instance whose probes get `verdicts`, one after the other."""

    def __init__(self, *verdicts: Verdict, **config: object) -> None:
        super().__init__()
        self.monitor.config = dataclasses.replace(self.monitor.config, **config)
        self.verdicts, self.probed, self.busy = list(verdicts), [], False
        self.during_probe = lambda: None
        self.check_continuation = ContinuationCheck(self.monitor, self.send, lambda: self.busy)
        self.models = models("a", "b")

    def send(self, model):
        self.probed.append(model)
        self.during_probe()
        return self.verdicts.pop(0)

    def run_round(self):
        return self.check_continuation.run_round()

    @property
    def continues(self):
        return self.check_continuation.continues


@pytest.mark.parametrize("verdict", [YES, NO])
def test_a_running_engine_is_probed_once(verdict):
    instance = CheckedInstance(verdict)
    instance.run_round()
    assert (instance.probed, instance.continues) == ([], None), "it is not ready"
    instance.advance()
    assert [instance.run_round() for _ in range(3)] == [None] * 3
    assert (instance.probed, instance.continues) == (["a"], verdict.continues)


@pytest.mark.parametrize("second", [YES, NO, LATER])
def test_a_probe_that_proved_nothing_is_repeated_once(second, caplog):
    caplog.set_level("INFO", "svc.babysitter.continuation_check")
    instance = CheckedInstance(LATER, second)
    instance.advance()
    caplog.clear()
    assert instance.run_round() == RETRY_SECONDS
    assert (instance.continues, caplog.text) == (False, "")
    assert [instance.run_round() for _ in range(3)] == [None] * 3
    assert (instance.probed, instance.continues) == (["a", "a"], second.continues)
    assert len(caplog.records) == 1
    assert second.reason in caplog.text


def test_messages_have_a_proof_of_their_own():
    instance = CheckedInstance(Verdict(True, continues_messages=True), YES)
    instance.advance()
    assert not instance.check_continuation.continues_messages
    instance.run_round()
    assert instance.check_continuation.continues_messages
    instance.process = ProcessSnapshot("RUNNING", 8)
    instance.advance()
    instance.run_round()
    assert (instance.continues, instance.check_continuation.continues_messages) == (True, False)


def test_each_new_process_is_probed():
    instance = CheckedInstance(YES, NO)
    instance.advance()
    instance.run_round()
    instance.process = ProcessSnapshot("RUNNING", 8)
    instance.advance()
    assert instance.continues is None, "the proof was of another process"
    instance.run_round()
    assert instance.continues is False


def test_the_verdict_on_a_process_that_has_ended_is_dropped():
    instance = CheckedInstance(YES, YES)
    instance.advance()
    instance.process = None

    def end():
        instance.process = ProcessSnapshot("BACKOFF")
        instance.monitor.poll_process()

    instance.during_probe = end
    instance.process = ProcessSnapshot("RUNNING", 7)
    instance.run_round()
    assert instance.continues is None


def test_no_probe_is_sent_to_a_hung_engine_or_during_another_probe():
    instance = CheckedInstance(YES)
    instance.advance()
    instance.busy = True
    instance.run_round()
    instance.busy = False
    instance.monitor.apply(LifecycleEvent.SILENT, instance.monitor.snapshot.process_stage)
    instance.run_round()
    assert (instance.probed, instance.monitor.snapshot.state) == ([], LifecycleState.HUNG)
    instance.monitor.apply(LifecycleEvent.GENERATES, instance.monitor.snapshot.process_stage)
    instance.run_round()
    assert instance.continues


def test_a_bad_verdict_changes_nothing_else():
    instance = CheckedInstance(LATER, LATER)
    state = instance.advance()
    instance.run_round()
    instance.run_round()
    assert (instance.monitor.snapshot.state, instance.monitor.is_healthy()) == (state, True)


@pytest.mark.parametrize(
    ("config", "continues"),
    [
        ({"continuation_probe": False}, None),
        ({"metadata": {"continues": True}}, True),
        ({"metadata": {"continues": False}}, False),
    ],
)
def test_the_file_may_switch_the_check_off_or_say_the_result(config, continues):
    instance = CheckedInstance(**config)
    instance.advance()
    instance.run_round()
    assert (instance.check_continuation.enabled, instance.probed, instance.continues) == (False, [], continues)
