"""In a process of its own: the hooks of a fork cannot be taken back."""

import subprocess
import sys

import pytest

STORY = """
import os, signal
from svc import forks

def end(*_): os._exit(7)

forks.hold()
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGTERM)  # too early: it would end by it
    signal.signal(signal.SIGTERM, end)
    {child}
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
signal.signal(signal.SIGTERM, end)
os.kill(os.getpid(), signal.SIGTERM)
print("the parent is deaf")
"""


@pytest.mark.parametrize(("child", "status"), [("forks.let()", "7"), ("pass", "1")])
def test_a_signal_during_the_childs_beginning_waits_for_its_handlers_and_the_parent_hears_all(child, status):
    done = subprocess.run([sys.executable, "-c", STORY.format(child=child)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.split()) == (7, [status]), done
