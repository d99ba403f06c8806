"""supervisord, its programs and their ports."""

import dataclasses

import pytest

from svc.doctor.checks import all_checks
from svc.doctor.checks.supervisord import REPLACE
from svc.doctor.facts import PortHolder, SupervisordFacts, UnfinishedRollout
from svc.doctor.findings import PROBLEM, WARNING, ordered
from svc.supervision.client import Restarts
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import facts, found, process, states


def roots(**more) -> list[str]:
    return [node.finding.key for node in ordered(all_checks.findings(facts(**more)))]


# supervisord.


def test_nothing_runs():
    silent = {"supervisord": SupervisordFacts(last_error="CRIT out of memory"), "listeners": {}, "instance_probes": {}}
    silent |= {
        "registries": [sample_site.registry(health=sample_site.GONE, listing=sample_site.GONE)],
        "router": sample_site.router(health=sample_site.GONE, ready=sample_site.GONE, services=[]),
    }
    assert roots(**silent) == ["supervisord.down"]
    told = found(**silent)["supervisord.down"]
    assert told.fix == "svc up"
    assert "CRIT out of memory" in told.evidence


@pytest.mark.parametrize(
    ("supervisor", "key", "fix"),
    [
        (
            SupervisordFacts(problem="permission denied", socket_owner="bob"),
            "supervisord.denied",
            "sudo -u bob svc doctor",
        ),
        (SupervisordFacts(problem="it does not answer"), "supervisord.mute", "svc down && svc up"),
        (SupervisordFacts(pid_without_socket=41), "supervisord.lost", "kill 41 && sleep 5 && svc down && svc up"),
        (
            sample_site.supervisor(has_extension=False, svc_version="", python="/usr/bin"),
            "supervisord.foreign",
            REPLACE,
        ),
        (sample_site.supervisor(version="4.2.5"), "supervisord.old", "svc down && svc up"),
    ],
)
def test_a_supervisord_that_is_not_as_it_should_be(supervisor, key, fix):
    told = found(supervisord=supervisor)
    assert told[key].severity == PROBLEM
    assert told[key].fix == fix


# Programs.


def test_a_program_that_was_stopped():
    told = found(supervisord=states(a_server="STOPPED"))["program.a:server"]
    assert told.summary == "a:server: was stopped by hand"
    assert told.fix == "supervisorctl start a:server"


def test_a_program_that_supervisord_does_not_have():
    told = sample_site.supervisor()
    processes = {name: p for name, p in told.processes.items() if not name.startswith("b:")}
    assert found(supervisord=dataclasses.replace(told, processes=processes))["program.b:server"].fix == "svc up"


def test_a_known_end_of_a_log_is_the_diagnosis():
    log = ("starting", "torch.OutOfMemoryError: CUDA out of memory.")
    gone = process("a:server", "FATAL", spawnerr="gave up after 3 restarts")
    told = found(supervisord=states(a_server=gone), logs={"a:server": log})["program.a:server"]
    assert told.summary == "a:server: the GPU's memory is full"
    assert "FATAL: gave up after 3 restarts" in told.evidence
    assert "CUDA out of memory" in told.evidence
    assert "(in config/a.toml)" in told.first_step
    assert told.fix == "svc up"


def test_an_unknown_end_is_shown():
    told = found(supervisord=states(a_server="BACKOFF"), logs={"a:server": ("gone fishing", "")})["program.a:server"]
    assert "gone fishing" in told.evidence
    assert told.fix == "supervisorctl restart a:server"
    assert "its log is empty" in found(supervisord=states(a_server="BACKOFF"))["program.a:server"].evidence


def test_a_program_that_was_killed():
    told = found(supervisord=states(a_server="BACKOFF"), last_exits={"a:server": "terminated by SIGKILL"})
    assert "SIGKILL" in told["program.a:server"].summary
    assert "dmesg" in told["program.a:server"].first_step


def test_one_that_runs_but_was_restarted_again_and_again():
    restless = dataclasses.replace(sample_site.supervisor(), restarts={"a:server": Restarts(5, 10, False)})
    told = found(supervisord=restless, last_exits={"a:server": "terminated by SIGSEGV"})
    assert told["restarts.a:server"].severity == WARNING
    assert "SIGSEGV" in told["restarts.a:server"].evidence
    calm = dataclasses.replace(states(a_server=process("a:server", age=5000)), restarts=restless.restarts)
    assert found(supervisord=calm) == {}


def test_one_that_ends_again_and_again_is_known_in_every_moment():
    log, count = {"a:server": ("ModuleNotFoundError: No module named 'vllm'",)}, {"a:server": Restarts(1, 10, False)}
    starting = dataclasses.replace(states(a_server="STARTING"), restarts=count)
    assert "no module vllm" in found(supervisord=starting, logs=log)["program.a:server"].summary
    young = dataclasses.replace(states(a_server=process("a:server", age=2)), restarts=count)
    assert found(supervisord=young, logs=log)["restarts.a:server"].summary.endswith("restarted once, 2 s ago last")
    fresh = dataclasses.replace(starting, restarts={"a:server": Restarts(0, 10, False)})
    assert found(supervisord=fresh) == {}


# Ports.


def held(**holder) -> dict:
    return {**facts().listeners, 8100: PortHolder(99, "nc -l 8100", **holder)}


@pytest.mark.parametrize(
    ("state", "fix"),
    [("BACKOFF", "kill 99"), ("STARTING", "kill 99"), ("FATAL", "kill 99 && sleep 2 && supervisorctl start a:server")],
)
def test_a_port_that_another_program_has_is_the_cause(state, fix):
    log = {"a:server": ("svc launch: port 8100 is taken by nc -l 8100 (pid 99); stop it",)}
    more = {"supervisord": states(a_server=state), "listeners": held(), "logs": log}
    assert roots(**more) == ["port.8100"]
    told = found(**more)["port.8100"]
    assert "nc -l 8100 (pid 99)" in told.summary
    assert told.fix == fix


def test_a_port_that_is_taken_while_nothing_runs():
    [first, *_] = ordered(
        all_checks.findings(facts(supervisord=SupervisordFacts(), listeners={8100: PortHolder(99, "nc")}))
    )
    assert first.finding.key == "port.8100"
    assert first.finding.fix == "kill 99 && sleep 2 && svc up"
    assert "supervisord.down" in {f.key for f in first.all()}


def test_a_port_of_somebody_who_is_not_told():
    told = found(supervisord=states(a_server="BACKOFF"), listeners={8100: PortHolder(0, "")})["port.8100"]
    assert "another user" in told.summary
    assert "ss -ltnp" in told.fix


def test_a_port_that_another_of_ours_has_taken():
    told = found(supervisord=states(a_server="BACKOFF"), listeners=held(program="b:server"))["port.8100"]
    assert "b:server" in told.evidence
    assert told.fix == "svc up"


def test_one_that_listens_elsewhere():
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 8100}
    told = found(listeners={**listeners, 9000: PortHolder(7, "engine", "a:server")})["listen.a:server"]
    assert told.summary == "a:server: listens on port 9000, not on its own, 8100"


@pytest.mark.parametrize(("age", "severity"), [(100, WARNING), (5000, PROBLEM)])
def test_an_instance_that_does_not_listen_yet(age, severity):
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 8100}
    supervisor = states(a_server=process("a:server", age=age))
    told = found(listeners=listeners, supervisord=supervisor, logs={"a:server": ("Loading 3/7",)})["listen.a:server"]
    assert told.severity == severity
    assert "Loading 3/7" in told.evidence


def test_a_registry_that_does_not_listen():
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 18000}
    assert found(listeners=listeners)["listen.registry"].severity == PROBLEM


# Rollouts.


def test_a_rollout_that_ended_in_the_middle_is_the_cause_of_what_it_holds():
    drained = sample_site.service("a", 8100, drained=True, is_healthy=False)
    more = {
        "rollout": UnfinishedRollout("apply", drained=["a-server"]),
        "registries": [sample_site.registry([drained, sample_site.service("b", 8110)])],
    }
    assert roots(**more) == ["rollout"]
    assert found(**more)["rollout"].fix == "svc apply"
    assert "a rollout said so" in found(**more)["instance.a-server"].evidence


def test_a_rollout_that_is_at_work():
    told = found(rollout=UnfinishedRollout("apply", at_work="`svc apply` (pid 9, since 03:00:00)"))["rollout"]
    assert told.severity == WARNING
    assert "pid 9" in told.evidence
