"""Findings about ports and the processes that listen on them."""

import pytest

from svc.doctor.checks import all_checks
from svc.doctor.facts import PortHolder, SupervisordFacts
from svc.doctor.findings import PROBLEM, WARNING, ordered
from tests.unit.doctor.sample_site import facts, findings, process, roots, states


def held(**holder) -> dict:
    return {**facts().listeners, 8100: PortHolder(99, "nc -l 8100", **holder)}


@pytest.mark.parametrize(
    ("state", "fix"),
    [("BACKOFF", "kill 99"), ("STARTING", "kill 99"), ("FATAL", "kill 99 && sleep 2 && supervisorctl start a:server")],
)
def test_a_port_that_another_program_holds_is_the_root_cause(state, fix):
    log = {"a:server": ("svc launch: port 8100 is taken by nc -l 8100 (pid 99); stop it",)}
    more = {"supervisord": states(a_server=state), "listeners": held(), "logs": log}
    assert roots(**more) == ["port.8100"]
    result = findings(**more)["port.8100"]
    assert "nc -l 8100 (pid 99)" in result.summary
    assert result.fix == fix


def test_a_taken_port_while_nothing_runs():
    [first, *_] = ordered(
        all_checks.findings(facts(supervisord=SupervisordFacts(), listeners={8100: PortHolder(99, "nc")}))
    )
    assert first.finding.key == "port.8100"
    assert first.finding.fix == "kill 99 && sleep 2 && svc up"
    assert "supervisord.down" in {f.key for f in first.all()}


def test_a_port_whose_holder_is_unknown():
    result = findings(supervisord=states(a_server="BACKOFF"), listeners={8100: PortHolder(0, "")})["port.8100"]
    assert "another user" in result.summary
    assert "ss -ltnp" in result.fix


def test_a_port_that_another_svc_site_holds():
    holder = held(site="/srv/other", stop_command="cd /srv/other && svc down")
    result = findings(supervisord=states(a_server="BACKOFF"), listeners=holder)["port.8100"]
    assert result.summary == "port 8100, which a:server needs, is held by the svc site in /srv/other"
    assert result.fix == "cd /srv/other && svc down"


def test_a_port_that_another_program_of_the_site_holds():
    result = findings(supervisord=states(a_server="BACKOFF"), listeners=held(program="b:server"))["port.8100"]
    assert "b:server" in result.evidence
    assert result.fix == "svc up"


def test_a_program_that_listens_on_another_port():
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 8100}
    result = findings(listeners={**listeners, 9000: PortHolder(7, "engine", "a:server")})["listen.a:server"]
    assert result.summary == "a:server: listens on port 9000, not on its own, 8100"


@pytest.mark.parametrize(("age", "severity"), [(100, WARNING), (5000, PROBLEM)])
def test_an_instance_that_does_not_listen_yet(age, severity):
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 8100}
    supervisor = states(a_server=process("a:server", age=age))
    result = findings(listeners=listeners, supervisord=supervisor, logs={"a:server": ("Loading 3/7",)})[
        "listen.a:server"
    ]
    assert result.severity == severity
    assert "Loading 3/7" in result.evidence


def test_a_registry_that_does_not_listen():
    listeners = {port: holder for port, holder in facts().listeners.items() if port != 18000}
    assert findings(listeners=listeners)["listen.registry"].severity == PROBLEM
