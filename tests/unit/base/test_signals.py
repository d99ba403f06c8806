"""Stop signals around a fork, in a process of its own: hooks of a fork cannot be removed."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal
from svc.base import signals

def end(*_): os._exit(7)

signals.block_during_forks()
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGTERM)  # before it has a handler: the signal would end it
    signal.signal(signal.SIGTERM, end)
    {child}
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
signal.signal(signal.SIGTERM, end)
os.kill(os.getpid(), signal.SIGTERM)
print("the parent got no signal")
"""


@pytest.mark.parametrize(("child", "status"), [("signals.unblock()", "7"), ("pass", "1")])
def test_a_signal_at_fork_waits_for_the_childs_handler(child, status):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(child=child)], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout.split()) == (7, [status]), done
