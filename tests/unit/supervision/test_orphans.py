import pytest

from svc.supervision.orphans import ProcessEntry, marks_of, members, parent_died

MARKS = marks_of("qwen", "unix:///site/var/supervisor.sock")
NO_MARKS = frozenset()
OWN_ENTRY = ProcessEntry(20, parent=1, group=20, session=10, zombie=False, marks=NO_MARKS)
OTHERS = [
    ProcessEntry(1, 0, 1, 1, False, NO_MARKS),
    ProcessEntry(30, 1, 30, 10, False, marks_of("llama", "unix:///site/var/supervisor.sock")),
    ProcessEntry(31, 1, 31, 10, False, marks_of("qwen", "unix:///other/supervisor.sock")),
    ProcessEntry(32, 1, 32, 9, False, NO_MARKS),
]


def pids_of(*procs, known_pid=None):
    return members([OWN_ENTRY, *OTHERS, *procs], MARKS, known_pid, OWN_ENTRY)


@pytest.mark.parametrize(
    ("procs", "known_pid", "pids"),
    [
        pytest.param([ProcessEntry(40, 1, 40, 10, False, MARKS)], None, {40}, id="by its environment"),
        pytest.param(
            [ProcessEntry(41, 1, 40, 10, False, NO_MARKS)], 40, {41}, id="by the group of a leader that is dead"
        ),
        pytest.param(
            [ProcessEntry(41, 1, 40, 99, False, NO_MARKS)], 40, set(), id="not a pid given to another session"
        ),
        pytest.param(
            [ProcessEntry(40, 1, 40, 10, False, MARKS), ProcessEntry(41, 1, 40, 10, False, NO_MARKS)],
            None,
            {40, 41},
            id="with its group",
        ),
        pytest.param([ProcessEntry(41, 1, 41, 41, False, MARKS)], 40, {41}, id="in a session of its own"),
        pytest.param(
            [
                ProcessEntry(41, 40, 41, 41, False, NO_MARKS),
                ProcessEntry(40, 1, 40, 10, False, MARKS),
                ProcessEntry(42, 41, 42, 42, False, NO_MARKS),
            ],
            None,
            {40, 41, 42},
            id="with all that it started",
        ),
        pytest.param([ProcessEntry(40, 1, 40, 10, True, MARKS)], 40, set(), id="not a zombie"),
        pytest.param([ProcessEntry(40, 1, 20, 10, False, MARKS)], None, {40}, id="of the caller's group: alone"),
    ],
)
def test_the_pids_of_an_instance(procs, known_pid, pids):
    assert pids_of(*procs, known_pid=known_pid) == pids


def test_the_caller_itself_is_never_a_member():
    own_entry = ProcessEntry(20, 1, 20, 10, False, MARKS)
    assert members([own_entry, *OTHERS], MARKS, 20, own_entry) == set()


def test_a_parent_that_is_not_the_first_supervisord_has_died():
    assert not parent_died({"SVC_SUPERVISOR_PID": "7"}, 7)
    assert parent_died({"SVC_SUPERVISOR_PID": "7"}, 1)
    assert not parent_died({}, 1)
