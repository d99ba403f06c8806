"""How processes ended, and forced restarts that are killed when they take too long."""

import signal
from types import SimpleNamespace

import pytest

from svc.supervision import exits
from svc.supervision.exits import ExitStatuses, ForcedRestarts, describe_status


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "Exited with code 0"),
        (3 << 8, "Exited with code 3"),
        (signal.SIGKILL, "Killed by SIGKILL"),
        (signal.SIGSEGV | 0x80, "Killed by SIGSEGV"),
        (signal.SIGRTMIN + 1, "Killed by signal 35"),
    ],
)
def test_a_wait_status_is_described_by_its_code_or_signal(status, text):
    assert describe_status(status) == text


def test_only_the_process_that_was_reaped_last_is_described():
    reaped = iter([(7, 0), (8, 1 << 8)])
    options = SimpleNamespace(waitpid=lambda: next(reaped))
    statuses = ExitStatuses(options)
    assert options.waitpid() == (7, 0)
    assert statuses.describe(7) == "Exited with code 0"
    assert options.waitpid() == (8, 1 << 8)
    assert (statuses.describe(7), statuses.describe(8)) == ("", "Exited with code 1")


class FakeProcess:
    pid = 4711
    config = SimpleNamespace(stopwaitsecs=10, stopsignal=signal.SIGTERM)

    def __init__(self):
        self.signals = []

    def signal(self, number):
        self.signals.append(number)


@pytest.fixture
def killed(monkeypatch):
    pids: list[int] = []
    monkeypatch.setattr(exits, "kill_group", pids.append)
    return pids


def test_a_process_gets_its_stop_signal_once_and_is_killed_when_it_is_late(killed):
    process, restarts = FakeProcess(), ForcedRestarts()
    restarts.begin(process, "it hangs", now=100)
    restarts.begin(process, "it hangs", now=105)
    assert process.signals == [signal.SIGTERM]
    restarts.kill_overdue(now=109)
    assert killed == []
    restarts.kill_overdue(now=110)
    assert killed == [4711]


def test_the_reason_of_a_forced_restart_is_reported_once(killed):
    restarts = ForcedRestarts()
    restarts.begin(FakeProcess(), "it hangs", now=100)
    assert (restarts.finish(4711), restarts.finish(4711)) == ("it hangs", "")
    restarts.kill_overdue(now=1000)
    assert killed == []
