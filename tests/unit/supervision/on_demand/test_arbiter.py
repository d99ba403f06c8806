import pytest

from svc.supervision.on_demand.arbiter import Arbiter
from svc.supervision.on_demand.instance_facts import Demand, GpuReading, InstanceFacts
from svc.supervision.on_demand.record import ProgramState
from tests.unit.supervision.on_demand.hosts import GB, program

WANTED = Demand(1, 1.0, 0.0)


class Site:
    """An arbiter, and the processes of its host."""

    def __init__(self, *programs):
        self.arbiter = Arbiter("host-a")
        self.processes = {it.name: ProgramState(it) for it in programs}
        self.now = 1000.0

    def becomes(self, name, state, pid=0, why=""):
        name = f"{name}:server"
        self.processes[name] = ProgramState(self.processes[name].program, state, pid, why)

    def report(self, name, status, demand=None, *, in_flight=0, used=None, **facts):
        gpus = None if used is None else (GpuReading(0, 40 * GB, used * GB),)
        reported = InstanceFacts(status, in_flight, 0.0, None, demand, gpus, used is not None, **facts)
        return self.arbiter.report(f"{name}:server", reported, self.processes, self.now)

    def wakes(self, name, pid):
        self.becomes(name, "running", pid)
        self.report(name, "starting")
        self.now += 10
        self.report(name, "running")

    def instance(self, name):
        return self.arbiter.state(self.processes, self.now)["instances"][f"{name}:server"]


@pytest.fixture
def site():
    return Site(program("a"), program("b"), program("c", gpus=(), count=1))


def test_a_load_is_measured_from_the_start_to_the_first_report_that_it_runs(site):
    site.wakes("a", 7)
    assert site.arbiter.offer("b:server", site.processes, site.now).seconds == pytest.approx(60 + 10 + 60, abs=0.1)
    assert site.instance("a")["phase"] == "awake"


def test_a_report_about_the_process_before_does_not_end_a_load(site):
    site.becomes("a", "running", 7)
    site.report("a", "running")
    assert site.instance("a")["phase"] == "loading"


def test_an_instance_whose_babysitter_is_gone_keeps_its_memory_and_stays(site):
    site.wakes("a", 7)
    site.now += 100
    decision = site.report("b", "asleep", WANTED)
    assert decision.action == "wait"
    assert "a (its babysitter does not report)" in decision.reason


def test_each_failed_load_doubles_the_pause(site):
    for number, pause in enumerate((10, 20, 40), start=1):
        assert site.report("a", "asleep", WANTED).action == "start"
        site.becomes("a", "running", number)
        site.report("a", "starting", WANTED)
        site.becomes("a", "failed", why="Exited with code 1")
        assert f"Exited with code 1; another try in {pause} s" in site.report("a", "failed", WANTED).reason
        site.now += pause - 1
        assert site.report("a", "failed", WANTED).action == "wait"
        site.now += 2


@pytest.mark.parametrize(("end", "action"), [("stopped", "start"), ("failed", "wait")])
def test_a_load_that_went_well_ends_the_pause_after_earlier_failures(site, end, action):
    for pid in (1, 2):
        site.becomes("a", "running", pid)
        site.report("a", "starting", WANTED)
        site.becomes("a", "failed", why="Exited with code 1")
        site.report("a", "failed", WANTED)
    site.wakes("a", 3)
    site.becomes("a", "stopping", 3)
    site.report("a", "draining")
    site.becomes("a", end)
    assert site.report("a", "asleep", WANTED).action == action


def test_restarts_after_a_failed_start_do_not_lengthen_the_pause(site):
    for pause in (10, 20):
        assert site.report("a", "asleep", WANTED).action == "start"
        for number in (1, 2, 3):
            site.becomes("a", "running", number)
            site.report("a", "starting", WANTED)
            site.becomes("a", "restarting", why=f"Exited with code 1; restart {number} of 9 in 1 s")
            assert site.report("a", "starting", WANTED).reason.endswith(f"restart {number} of 9 in 1 s")
        site.becomes("a", "stopped")
        reason = site.report("a", "asleep", WANTED).reason
        assert reason == f"it failed to load: Exited with code 1; another try in {pause} s"
        site.now += pause + 1


def test_an_instance_that_restarts_after_a_failed_load_gives_way_at_once(site):
    site.becomes("a", "running", 7)
    site.report("a", "starting")
    site.becomes("a", "restarting", why="Exited with code 1")
    site.report("b", "asleep", WANTED)
    assert site.report("a", "starting").action == "release"


def test_an_instance_that_failed_to_load_restarts_only_as_long_as_it_is_wanted(site):
    site.becomes("a", "running", 7)
    site.report("a", "starting", WANTED)
    site.becomes("a", "restarting", why="Exited with code 1")
    assert site.report("a", "starting", WANTED).action == "wait"
    decision = site.report("a", "starting")
    assert (decision.action, "Exited with code 1" in decision.reason) == ("release", True)


def test_an_instance_that_ends_while_it_serves_restarts_although_nothing_waits(site):
    site.wakes("a", 7)
    site.becomes("a", "restarting", why="Exited with code 1")
    assert site.report("a", "starting").action == "stay"


def test_an_instance_that_serves_is_not_taken_for_one_that_loads_when_its_babysitter_restarts(site):
    site.wakes("a", 7)
    site.now += 1000
    site.report("a", "starting", in_flight=None)  # as a new babysitter does before it has looked
    assert not site.arbiter.is_unready("a:server", site.processes)
    assert "its requests cannot be counted" in site.report("b", "asleep", Demand(1, 900.0)).reason
    assert site.report("a", "starting", in_flight=None).action == "stay"


def test_a_load_that_does_not_end_keeps_neither_the_turn_nor_the_place(site):
    site.becomes("a", "running", 7)
    site.report("a", "starting", in_flight=None)
    site.now += 1801
    site.report("a", "starting", in_flight=None)
    site.report("b", "asleep", WANTED)
    assert site.report("a", "starting", in_flight=None).action == "release"
    assert site.arbiter.is_unready("a:server", site.processes)


def test_a_restart_is_postponed_while_another_instance_loads(site):
    site.wakes("a", 7)
    site.becomes("a", "restarting")
    assert site.arbiter.restarts_to_postpone(site.processes, site.now) == []
    site.becomes("c", "running", 8)
    assert site.arbiter.restarts_to_postpone(site.processes, site.now) == ["a:server"]


def test_memory_of_a_process_that_has_just_ended_is_waited_for(site):
    site.wakes("a", 7)
    site.becomes("a", "stopped")
    assert site.report("b", "asleep", WANTED, used=30).action == "measure"
    assert site.report("b", "asleep", WANTED, used=0).action == "start"


def test_memory_that_stays_in_use_belongs_to_other_processes(site):
    site.wakes("a", 7)
    site.becomes("a", "stopped")
    site.report("b", "asleep", WANTED, used=30)
    site.now += 16
    decision = site.report("b", "asleep", WANTED, used=30)
    assert decision.action == "wait"
    assert "other processes (30 GB)" in decision.reason
    site.now += 6
    assert site.report("b", "asleep", Demand(1, 9.0), used=0).action == "start"


def test_foreign_memory_is_measured_again_before_a_wake_is_given_up(site):
    site.report("b", "asleep", WANTED, used=30)
    site.now += 6
    facts = InstanceFacts("asleep", 0, demand=WANTED, has_tool=True)
    assert site.arbiter.report("b:server", facts, site.processes, site.now).action == "measure"


READINGS = {
    "memory of other processes": GpuReading(0, 40 * GB, 30 * GB),
    "another GPU": GpuReading(1, 40 * GB, 0),
    "a small GPU": GpuReading(0, 20 * GB, 0),
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_an_old_reading_makes_no_wake_impossible(site, reading):
    def report(**facts):
        return site.arbiter.report(
            "b:server", InstanceFacts("asleep", 0, has_tool=True, **facts), site.processes, site.now
        )

    assert report(demand=WANTED, gpus=(reading,)).action == "wait"
    assert not site.arbiter.offer("b:server", site.processes, site.now).possible
    site.now += 60
    report()
    offer = site.arbiter.offer("b:server", site.processes, site.now)
    assert (offer.possible, offer.reason) == (True, "reads the memory of the GPUs")
    assert report(demand=WANTED).action == "measure"
    assert report(demand=WANTED, gpus=(GpuReading(0, 40 * GB, 0),)).action == "start"


def test_memory_of_other_processes_is_forgotten_without_a_tool_that_could_measure_it_again(site):
    site.report("b", "asleep", WANTED, used=30)
    site.now += 200
    assert site.report("b", "asleep", WANTED).action == "wait"
    site.now += 200
    assert site.report("b", "asleep", WANTED).action == "start"


def test_a_tool_that_gives_no_reading_is_done_without(site):
    facts = InstanceFacts("asleep", 0, demand=WANTED, has_tool=True)
    report = lambda: site.arbiter.report("a:server", facts, site.processes, site.now).action  # noqa: E731
    assert report() == "measure"
    site.now += 14
    assert report() == "measure"
    site.now += 2
    assert report() == "start"


def test_counted_gpus_are_chosen_at_an_operators_start_too(site):
    site.report("b", "asleep", used=0)
    assert site.arbiter.gpus_at_start("c:server", site.processes, site.now) == (0,)
    assert site.arbiter.gpus_at_start("a:server", site.processes, site.now) == ()


@pytest.mark.parametrize(
    ("status", "in_flight", "sleep", "may_sleep"),
    [
        ("running", 0, True, False),
        ("draining", 1, True, False),
        ("draining", 0, False, False),
        ("draining", 0, True, True),
        ("draining", None, True, True),
    ],
)
def test_an_instance_sleeps_only_when_it_drains_and_nothing_is_in_flight(site, status, in_flight, sleep, may_sleep):
    site.wakes("a", 7)
    site.report("a", status, in_flight=in_flight, sleep=sleep)
    assert site.arbiter.may_sleep("a:server", site.processes, site.now) == may_sleep


def test_a_removed_program_is_forgotten(site):
    site.wakes("a", 7)
    del site.processes["a:server"]
    assert site.report("b", "asleep", WANTED).action == "start"
