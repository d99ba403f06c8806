import logging
import signal
from types import SimpleNamespace

import pytest
from supervisor import events
from supervisor.states import ProcessStates, SupervisorStates

from svc.supervision.exits import describe_status
from svc.supervision.extension import Extension, RpcInterface, make, search_paths

NOBODY = 1 << 22  # a pid that no process has


def test_svc_comes_first_and_the_operators_path_is_kept():
    assert search_paths({"PATH": "/usr/bin:/bin"}, "/opt/svc/bin") == {
        "PATH": "/opt/svc/bin:/usr/bin:/bin",
        "SVC_PATH": "/usr/bin:/bin",
    }


def test_a_reload_leaves_the_paths_as_they_are():
    once = search_paths({"PATH": "/bin"}, "/opt/svc/bin")
    assert search_paths(once, "/opt/svc/bin") == {}


def test_an_activated_environment_is_the_operators_own_path():
    told = search_paths({"PATH": "/opt/svc/bin:/bin"}, "/opt/svc/bin")
    assert told["SVC_PATH"] == "/opt/svc/bin:/bin"


def test_unknown_keys_of_the_section_are_an_error():
    with pytest.raises(ValueError, match="max_restart"):
        make(None, max_restart="3")


@pytest.fixture
def process():
    """What the policy sees of a process of ours, router:router with a socket."""
    socket_manager = SimpleNamespace(get_socket=lambda: "the reference", config=lambda: "the address")
    return SimpleNamespace(
        config=SimpleNamespace(
            name="router", environment={"SVC_MAX_RESTARTS": "1", "SVC_RESTART_DELAY": "5"}, startretries=99
        ),
        group=SimpleNamespace(config=SimpleNamespace(name="router"), socket_manager=socket_manager),
        pid=NOBODY,
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


def told(extension):
    return RpcInterface(extension).getRestarts()["router"]


def test_failed_is_told_until_somebody_starts_or_stops_it(extension, process):
    starts(process)
    dies(extension, process)
    starts(process, ProcessStates.BACKOFF)
    assert told(extension) == {"restarts": 1, "max_restarts": 1, "failed": False, "reason": "Exited with code 0"}
    dies(extension, process, status=3 << 8)
    assert told(extension) == {"restarts": 1, "max_restarts": 1, "failed": True, "reason": "Exited with code 3"}
    assert process.backoff > process.config.startretries
    events.notify(events.ProcessStateStoppedEvent(process, ProcessStates.BACKOFF))
    assert not told(extension)["failed"]
    starts(process)
    assert told(extension) == {"restarts": 0, "max_restarts": 1, "failed": False, "reason": ""}


def test_who_was_killed_is_said_to_be_and_by_which_signal(extension, process):
    starts(process)
    dies(extension, process, status=signal.SIGKILL)
    assert told(extension)["reason"] == "Killed by SIGKILL"


def test_what_did_not_even_start_has_supervisords_reason(extension, process):
    starts(process)
    process.pid, process.spawnerr = 0, "can't find command 'no'"
    dies(extension, process)
    assert told(extension)["reason"] == "can't find command 'no'"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "Exited with code 0"),
        (1 << 8, "Exited with code 1"),
        (signal.SIGSEGV | 0x80, "Killed by SIGSEGV"),  # with a core
        (40, "Killed by signal 40"),
    ],
)
def test_the_words_for_an_end(status, said):
    assert describe_status(status) == said


def test_a_shutdown_fails_nothing_and_lets_the_sockets_go(extension, process):
    starts(process)
    starts(process, ProcessStates.BACKOFF)
    extension.supervisord.options.mood = SupervisorStates.SHUTDOWN
    events.notify(events.SupervisorStoppingEvent())
    dies(extension, process)
    assert not extension.counts["router"].failed
    assert not extension.sockets._references


def test_a_socket_is_held_before_its_program_starts_but_not_for_ever(extension, process):
    assert extension.sockets._references == {"router": "the reference"}
    extension.sockets.release_idle(now=9e9)
    assert not extension.sockets._references


def test_supervisord_can_be_asked_for_nothing_else(extension):
    assert [name for name in dir(RpcInterface(extension)) if not name.startswith("_")] == [
        "endProcess",
        "getPrograms",
        "getRestarts",
        "getVersion",
        "replaceProgram",
    ]


def test_too_few_startretries_shorten_the_delay_but_never_give_up(extension, process, caplog):
    process.config.startretries = 3
    starts(process)
    dies(extension, process)
    assert process.backoff == 3
    assert "startretries must be at least the restart delay" in caplog.text


def test_an_error_of_ours_is_logged_and_goes_no_further(extension, process, caplog):
    process.config.environment["SVC_RESTART_DELAY"] = "soon"
    starts(process)
    assert "SVC_RESTART_DELAY='soon'" in caplog.text
    assert RpcInterface(extension).getRestarts() == {}
