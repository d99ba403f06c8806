import json
import logging
import signal
from types import SimpleNamespace

import pytest
from supervisor import events
from supervisor.states import ProcessStates, SupervisorStates

from svc.supervision.exits import describe_status
from svc.supervision.extension import Extension, RpcInterface, make, search_paths

UNUSED_PID = 1 << 22  # no process has it


def test_svc_is_first_in_path_and_the_operators_path_is_kept():
    assert search_paths({"PATH": "/usr/bin:/bin"}, "/opt/svc/bin") == {
        "PATH": "/opt/svc/bin:/usr/bin:/bin",
        "SVC_PATH": "/usr/bin:/bin",
    }


def test_a_reload_leaves_the_paths_as_they_are():
    once = search_paths({"PATH": "/bin"}, "/opt/svc/bin")
    assert search_paths(once, "/opt/svc/bin") == {}


def test_an_activated_environment_is_the_operators_own_path():
    variables = search_paths({"PATH": "/opt/svc/bin:/bin"}, "/opt/svc/bin")
    assert variables["SVC_PATH"] == "/opt/svc/bin:/bin"


def test_unknown_keys_of_the_section_are_an_error():
    with pytest.raises(ValueError, match="max_restart"):
        make(None, max_restart="3")


@pytest.fixture
def process():
    """A managed process of supervisord: router:router, with a socket."""
    socket_manager = SimpleNamespace(get_socket=lambda: "the reference", config=lambda: "the address")
    return SimpleNamespace(
        config=SimpleNamespace(
            name="router", environment={"SVC_MAX_RESTARTS": "1", "SVC_RESTART_DELAY": "5"}, startretries=99
        ),
        group=SimpleNamespace(config=SimpleNamespace(name="router"), socket_manager=socket_manager),
        pid=UNUSED_PID,
        backoff=0,
        spawnerr=None,
        status=0,
    )


@pytest.fixture
def extension(process, monkeypatch):
    monkeypatch.setenv("SVC_SUPERVISOR_PID", "1")  # which it writes: to be as it was afterwards
    logger = logging.getLogger("supervisord")
    reaped = lambda: (process.pid, process.status)  # noqa: E731
    options = SimpleNamespace(mood=SupervisorStates.RUNNING, logger=logger, waitpid=reaped)
    process.group.processes = {"router": process}
    yield Extension(SimpleNamespace(options=options, process_groups={"router": process.group}))
    events.clear()


def starts(process, come_from=ProcessStates.STOPPED):
    events.notify(events.ProcessStateStartingEvent(process, come_from))


def dies(extension, process, status=0):
    process.status = status
    extension.supervisord.options.waitpid()
    events.notify(events.ProcessStateBackoffEvent(process, ProcessStates.STARTING))


def reported(extension):
    return RpcInterface(extension).getRestarts()["router"]


def test_failed_is_reported_until_a_requested_start_or_stop(extension, process):
    starts(process)
    dies(extension, process)
    starts(process, ProcessStates.BACKOFF)
    assert reported(extension) == {"restarts": 1, "max_restarts": 1, "failed": False, "reason": "Exited with code 0"}
    dies(extension, process, status=3 << 8)
    assert reported(extension) == {"restarts": 1, "max_restarts": 1, "failed": True, "reason": "Exited with code 3"}
    assert process.backoff > process.config.startretries
    events.notify(events.ProcessStateStoppedEvent(process, ProcessStates.BACKOFF))
    assert not reported(extension)["failed"]
    starts(process)
    assert reported(extension) == {"restarts": 0, "max_restarts": 1, "failed": False, "reason": ""}


def test_the_log_positions_are_those_of_the_last_two_processes(extension, process, tmp_path):
    log = tmp_path / "router.log"
    process.config.stdout_logfile = str(log)
    for text in ("first\n", "second\n", "third\n"):
        starts(process)
        with log.open("a") as file:
            file.write(text)
    positions = json.loads(RpcInterface(extension).getLogPositions())["router"]
    assert [offset for _, offset in positions] == [len("first\n"), len("first\nsecond\n")]


def test_the_reason_names_the_signal_that_killed_a_process(extension, process):
    starts(process)
    dies(extension, process, status=signal.SIGKILL)
    assert reported(extension)["reason"] == "Killed by SIGKILL"


def test_a_failed_start_has_supervisords_reason(extension, process):
    starts(process)
    process.pid, process.spawnerr = 0, "can't find command 'no'"
    dies(extension, process)
    assert reported(extension)["reason"] == "can't find command 'no'"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, "Exited with code 0"),
        (1 << 8, "Exited with code 1"),
        (signal.SIGSEGV | 0x80, "Killed by SIGSEGV"),  # with a core
        (40, "Killed by signal 40"),
    ],
)
def test_a_wait_status_is_described(status, expected):
    assert describe_status(status) == expected


def test_a_shutdown_gives_nothing_up_and_releases_the_sockets(extension, process):
    starts(process)
    starts(process, ProcessStates.BACKOFF)
    extension.supervisord.options.mood = SupervisorStates.SHUTDOWN
    events.notify(events.SupervisorStoppingEvent())
    dies(extension, process)
    assert not extension.counts["router"].failed
    assert not extension.sockets._references


def test_a_socket_is_held_before_its_program_starts(extension, process):
    assert extension.sockets._references == {"router": "the reference"}
    extension.sockets.release_idle(now=9e9)
    assert not extension.sockets._references


def test_the_rpc_interface_has_only_these_methods(extension):
    assert [name for name in dir(RpcInterface(extension)) if not name.startswith("_")] == [
        "endProcess",
        "getLogPositions",
        "getOffer",
        "getOnDemand",
        "getPrograms",
        "getRestarts",
        "getVersion",
        "onDemand",
        "putToSleep",
        "replaceProgram",
    ]


def test_too_few_startretries_only_shorten_the_delay(extension, process, caplog):
    process.config.startretries = 3
    starts(process)
    dies(extension, process)
    assert process.backoff == 3
    assert "startretries must be at least the restart delay" in caplog.text


def test_an_error_in_a_handler_is_logged_and_contained(extension, process, caplog):
    process.config.environment["SVC_RESTART_DELAY"] = "soon"
    starts(process)
    assert "SVC_RESTART_DELAY='soon'" in caplog.text
    assert RpcInterface(extension).getRestarts() == {}
