"""Findings about the states of programs."""

import dataclasses

from svc.doctor.findings import WARNING
from svc.supervision.client import Restarts
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings, process, states


def test_a_program_that_was_stopped_by_hand():
    result = findings(supervisord=states(a_server="STOPPED"))["program.a:server"]
    assert result.summary == "a:server: was stopped by hand"
    assert result.fix == "supervisorctl start a:server"


def test_a_program_that_supervisord_does_not_have():
    result = sample_site.supervisor()
    processes = {name: p for name, p in result.processes.items() if not name.startswith("b:")}
    assert findings(supervisord=dataclasses.replace(result, processes=processes))["program.b:server"].fix == "svc up"


def test_a_known_end_of_the_log_is_the_diagnosis():
    log = ("starting", "torch.OutOfMemoryError: CUDA out of memory.")
    gone = process("a:server", "FATAL", spawnerr="gave up after 3 restarts")
    result = findings(supervisord=states(a_server=gone), logs={"a:server": log})["program.a:server"]
    assert result.summary == "a:server: the GPU's memory is full"
    assert "FATAL: gave up after 3 restarts" in result.evidence
    assert "CUDA out of memory" in result.evidence
    assert "(in config/a.toml)" in result.first_step
    assert result.fix == "svc up"


def test_a_wrong_command_of_svc_is_corrected_in_the_toml():
    log = {"a:server": ("svc: there is no command svc lama; did you mean svc llama?",)}
    result = findings(supervisord=states(a_server="FATAL"), logs=log)["program.a:server"]
    assert (result.first_step, result.fix) == ("correct [backend] command (in config/a.toml)", "svc up")


def test_an_unknown_end_of_the_log_is_shown():
    result = findings(supervisord=states(a_server="BACKOFF"), logs={"a:server": ("gone fishing", "")})[
        "program.a:server"
    ]
    assert "gone fishing" in result.evidence
    assert result.fix == "supervisorctl restart a:server"
    assert "its log is empty" in findings(supervisord=states(a_server="BACKOFF"))["program.a:server"].evidence


def test_a_program_that_was_killed():
    result = findings(supervisord=states(a_server="BACKOFF"), last_exits={"a:server": "terminated by SIGKILL"})
    assert "SIGKILL" in result["program.a:server"].summary
    assert "dmesg" in result["program.a:server"].first_step


def test_a_running_program_that_was_restarted_often():
    restless = dataclasses.replace(sample_site.supervisor(), restarts={"a:server": Restarts(5, 10, False)})
    result = findings(supervisord=restless, last_exits={"a:server": "terminated by SIGSEGV"})
    assert result["restarts.a:server"].severity == WARNING
    assert "SIGSEGV" in result["restarts.a:server"].evidence
    calm = dataclasses.replace(states(a_server=process("a:server", age=5000)), restarts=restless.restarts)
    assert findings(supervisord=calm) == {}


def test_a_program_that_keeps_ending_is_found_in_each_of_its_states():
    log, count = {"a:server": ("ModuleNotFoundError: No module named 'vllm'",)}, {"a:server": Restarts(1, 10, False)}
    starting = dataclasses.replace(states(a_server="STARTING"), restarts=count)
    assert "no module vllm" in findings(supervisord=starting, logs=log)["program.a:server"].summary
    young = dataclasses.replace(states(a_server=process("a:server", age=2)), restarts=count)
    assert findings(supervisord=young, logs=log)["restarts.a:server"].summary.endswith("restarted once, 2 s ago last")
    assert findings(supervisord=young, logs=log)["restarts.a:server"].fix == "svc up"
    earlier, now = {"earlier_logs": log}, {"a:server": ("Loading 1/7",)}
    assert "no module vllm" in findings(supervisord=starting, logs=now, **earlier)["program.a:server"].summary
    assert "No module named" in findings(supervisord=young, logs=now, **earlier)["restarts.a:server"].evidence
    fresh = dataclasses.replace(starting, restarts={"a:server": Restarts(0, 10, False)})
    assert findings(supervisord=fresh) == {}


def test_the_output_of_a_program_without_a_log_file_is_in_docker_logs():
    waiting = process("a:server", "BACKOFF", logfile="/dev/fd/1")
    result = findings(supervisord=states(a_server=waiting))["program.a:server"]
    assert result.evidence.endswith("; `docker logs` has its output")
    assert result.first_step == "look for the reason in `docker logs`; then"


def test_an_instance_on_demand_that_is_asleep_was_not_stopped_by_hand():
    on_demand = tuple(dataclasses.replace(c, on_demand=c.kind == "babysitter") for c in sample_site.COMPONENTS)
    asleep = {"a:server": "STOPPED", "a:babysitter": "STOPPED"}
    found = findings(components=on_demand, supervisord=states(**{k.replace(":", "_"): v for k, v in asleep.items()}))
    assert "program.a:server" not in found
    assert found["program.a:babysitter"].summary == "a:babysitter: was stopped by hand"
