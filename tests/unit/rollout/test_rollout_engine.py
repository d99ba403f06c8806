"""The loop of a rollout, against a simulated site: no process, no network, no sleep."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.rollout.journal import Journal
from svc.rollout.rollout_engine import RolloutEngine, RolloutStopped
from svc.rollout.tasks import InstanceOperation, RolloutLimits, Task
from svc.site.components import Component
from svc.terminal.delay_report import DelayReport
from tests.unit.rollout.simulated_site import SimulatedInstance, SimulatedSite
from tests.waiting import wait_until


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    site = Site(tmp_path)
    site.make_dirs()
    return Journal.load(site)


@pytest.fixture
def engine(journal: Journal) -> Callable[..., RolloutEngine]:
    def make(site: SimulatedSite, delay: DelayReport | None = None, **limits: Any) -> RolloutEngine:
        components = {name: Component(name, "babysitter", "h", (1, 2), ()) for name in (*site.instances, "new")}
        limits = {"drain_timeout": 60, "timeout": 30, **limits}
        return RolloutEngine(
            site,
            site,
            components,
            journal,
            RolloutLimits(**limits),
            site,
            delay,
            clock=site.clock,
            sleep=site.sleep,
        )

    return make


def restart(*names: str) -> list[Task]:
    return [Task(name, InstanceOperation.RESTART) for name in names]


def test_instances_restart_one_after_the_other_each_drained_first(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].in_flight = 3
    engine(site).run(restart("a", "b"))
    assert site.calls == [
        *("drain a", "stop a with 0 in flight", "restart a", "undrain a"),
        *("drain b", "stop b with 0 in flight", "restart b", "undrain b"),
    ]
    assert site.lines == ["a: back", "b: back"]
    assert (journal.drained, journal.begun, journal.done) == (set(), set(), {"a", "b"})


def test_requests_that_do_not_finish_are_cut_after_the_drain_timeout(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].in_flight = 1000
    engine(site, drain_timeout=10).run(restart("a"))
    [stop] = [call for call in site.calls if call.startswith("stop")]
    cut = int(stop.split()[3])
    assert site.lines == [f"a (drain): {cut} requests cut after 10 s", "a: back"]
    assert cut > 900


def test_streams_are_handed_over_and_what_stays_is_waited_for(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].in_flight, site.instances["a"].staying = 1000, 10
    engine(site, handover=5).run(restart("a"))
    assert site.calls == ["drain a", "hand over a", "stop a with 0 in flight", "restart a", "undrain a"]
    assert site.lines == [
        "a: its streams move to other instances now, after 5 s",
        "a: 10 waited for (tool call: 10)",
        "a: back",
    ]
    assert not site.instances["a"].hands_over


def test_a_registry_that_knows_no_handover_drains_as_before(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.registry_knows_handovers = False
    site.instances["a"].in_flight = 100
    engine(site, handover=5).run(restart("a"))
    assert site.calls[-3:] == ["stop a with 0 in flight", "restart a", "undrain a"]
    assert site.lines[1] == "a: all waited for: the registry is older and knows no handover"


def test_a_cancelled_drain_ends_the_handover(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].in_flight = site.instances["a"].staying = 1000

    def sleep(seconds: float) -> None:
        SimulatedSite.sleep(site, seconds)
        if site.instances["a"].hands_over:
            raise KeyboardInterrupt

    site.sleep = sleep
    rollout = engine(site, handover=5)
    with pytest.raises(KeyboardInterrupt):
        rollout.run(restart("a"))
    assert list(rollout.interrupt()) == ["a: as it was"]
    assert (site.instances["a"].drained, site.instances["a"].hands_over) == (False, False)


def test_a_repeated_rollout_goes_on_with_a_handover_that_has_begun(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    instance = site.instances["a"]
    for limits, moves in (({}, False), ({"handover": 30}, True)):
        instance.drained = instance.hands_over = True
        instance.in_flight = instance.staying = 1
        journal.drained = {"a-server"}
        site.calls.clear()
        engine(site, **limits).run(restart("a"))
        assert site.calls[0] == ("hand over a" if moves else "drain a")


def test_an_instance_that_does_not_come_back_stops_the_rollout(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].broken = True
    with pytest.raises(RolloutStopped) as stopped:
        engine(site).run(restart("a", "b"))
    assert stopped.value.program == "a:server"
    assert stopped.value.message == (
        "a:server: it does not come back; it stays drained: run this again, or `svc undrain a` when it is healthy; "
        "not begun: b"
    )
    assert site.instances["b"].starts == 0
    assert (journal.drained, journal.begun) == ({"a-server"}, {"a"})


def test_the_last_instance_of_a_model_is_not_drained_and_the_others_are_not_begun(engine):
    site = SimulatedSite(a=SimulatedInstance("only"), b=SimulatedInstance("m"))
    with pytest.raises(RolloutStopped, match="a: it is the last healthy instance of only; .*; not begun: b"):
        engine(site).run(restart("a", "b"))
    assert [call for call in site.calls if "a" in call.split()] == []


def test_an_instance_that_is_unhealthy_for_a_moment_is_waited_for(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["b"].runs = False

    def sleep(seconds: float) -> None:
        SimulatedSite.sleep(site, seconds)
        site.instances["b"].runs = site.now > 5

    site.sleep = sleep
    engine(site).run(restart("a"))
    assert site.now > 5
    assert site.lines == ["a: back"]


def test_an_operator_s_drain_is_kept(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].drained = True
    engine(site).run(restart("a"))
    assert site.calls == ["stop a with 0 in flight", "restart a"]
    assert site.instances["a"].drained
    assert site.lines == ["a: answers, and stays drained by the operator"]


def test_a_drain_is_tried_again_while_the_registry_does_not_answer(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.registry_answers = False
    rounds = 0
    sleep = site.sleep

    def answers_after_five_rounds(seconds: float) -> None:
        nonlocal rounds
        rounds += 1
        site.registry_answers = rounds >= 5
        sleep(seconds)

    site.sleep = answers_after_five_rounds
    engine(site).run(restart("a"))
    assert site.calls[0] == "drain a"
    assert site.lines == ["a: back"]


def test_a_refused_drain_leaves_nothing_to_finish(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))

    def refuse(task: Task, drained: bool, handover: bool) -> bool:
        raise CommandError("no token")

    site.set_drained = refuse
    with pytest.raises(CommandError, match="no token"):
        engine(site).run(restart("a"))
    journal.end(complete=False)
    assert not journal.path.exists()


def test_a_removed_instance_leaves_no_drain_mark_in_the_registry(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    engine(site).run([Task("a", InstanceOperation.REMOVE)])
    assert site.calls == ["drain a", "stop a with 0 in flight", "remove a", "deregister a", "undrain a"]
    assert (list(site.instances), journal.drained, journal.begun) == (["b"], set(), set())


def test_an_added_instance_is_started_before_another_is_drained(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    engine(site).run([Task("new", InstanceOperation.ADD), *restart("a")])
    assert site.calls[0] == "add new"
    assert site.lines == ["new: back", "a: back"]


def test_ctrl_c_undrains_what_still_serves_and_names_what_is_not_done(engine, journal):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"), c=SimulatedInstance("m"))
    site.instances["a"].in_flight = 1000

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    site.sleep = interrupt
    rollout = engine(site)
    with pytest.raises(KeyboardInterrupt):
        rollout.run(restart("a", "b"))
    assert list(rollout.interrupt()) == ["a: as it was", "b: not begun"]
    assert site.calls == ["drain a", "undrain a"]
    assert (journal.drained, journal.begun) == (set(), set())


def test_ctrl_c_names_a_stopped_instance_with_its_cure(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    rollout, stop = engine(site), site.stop

    def stop_and_interrupt(task: Task) -> None:
        stop(task)
        site.change = interrupt

    def interrupt(_task: Task) -> None:
        raise KeyboardInterrupt

    site.stop = stop_and_interrupt
    with pytest.raises(KeyboardInterrupt):
        rollout.run(restart("a"))
    assert list(rollout.interrupt()) == [
        "a: stopping, and drained: run this again, or `svc undrain a` when it is healthy"
    ]
    assert site.instances["a"].drained


def test_the_reason_is_looked_for_when_an_instance_is_not_back_after_a_while(engine):
    """The registry answers no more once `a` has restarted, so that `a` is not back within the timeout."""

    class SiteThatLosesItsRegistry(SimulatedSite):
        def change(self, task: Task) -> None:
            super().change(task)
            self.registry_answers = False

    site, late = SiteThatLosesItsRegistry(a=SimulatedInstance("m"), b=SimulatedInstance("m")), list[list[str]]()

    def explain(names: Collection[str]) -> list[str]:
        late.append(sorted(names))
        return []

    with pytest.raises(RolloutStopped):
        engine(site, DelayReport(explain, late.append, site.clock)).run(restart("a", "b"))
    wait_until(lambda: late == [["a"]], description="the thread of the report")


def test_an_instance_on_demand_that_was_awake_is_asked_to_wake_until_it_does(engine):
    site = SimulatedSite(a=SimulatedInstance("m"), b=SimulatedInstance("m"))
    site.instances["a"].on_demand, site.instances["a"].wakes_needed = True, 3
    began = site.now
    engine(site).run([Task("a", InstanceOperation.RESTART, on_demand=True, wakes=True)])
    assert site.calls == ["drain a", "stop a with 0 in flight", "restart a", *["wake a"] * 3, "undrain a"]
    assert site.now - began >= 2, "once a second"
    assert site.lines == ["a: back"]


def test_a_new_instance_on_demand_stays_asleep(engine):
    site = SimulatedSite(b=SimulatedInstance("m"))
    site.instances["a"] = SimulatedInstance("n")
    site.instances["a"].on_demand, site.instances["a"].runs = True, False
    engine(site).run([Task("a", InstanceOperation.ADD, on_demand=True)])
    assert site.calls == ["add a"]
    assert site.lines == ["a: asleep"]
