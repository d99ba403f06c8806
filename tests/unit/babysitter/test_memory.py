"""What real processes use, as /proc tells it."""

import os
import subprocess
import sys

import pytest

from svc.babysitter import memory

MIB = 1 << 20
# Holds 64 MB, which a forked worker shares; and says so.
SHARING = """
import os, sys, time
held = b"x" * (64 << 20)
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sharing():
    """Starts one with so many workers, in a process group of its own, as supervisord does."""
    started = []

    def start(workers):
        process = subprocess.Popen(
            [sys.executable, "-c", SHARING, str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=os.setpgrp,
        )
        started.append(process)
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()


def test_a_process_and_its_workers_count_what_they_share_once(sharing):
    pid = sharing(3)
    assert memory.used(pid, limit=1 << 40) > 4 * 64 * MIB  # the bound, which costs little
    assert 64 * MIB < memory.used(pid, limit=128 * MIB) < 128 * MIB


def test_what_has_ended_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory.used(process.pid, limit=1) == 0
