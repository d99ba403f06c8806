"""Ctrl-C in finalizers; stop signals around a fork, in a process of its own: hooks of a fork cannot be removed."""

import signal
import subprocess
import sys
import weakref

import pytest

from svc.base.signals import KeptInterrupt, deferred_interrupts

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


class Interrupted:
    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


class Finalized:
    def __init__(self, number: signal.Signals) -> None:
        weakref.finalize(self, signal.raise_signal, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("finalized", [Interrupted, Finalized])
def test_an_interrupt_in_a_finalizer_is_raised_by_the_next_sleep(finalized, number):
    before = signal.signal(number, signal.default_int_handler)
    try:
        with KeptInterrupt() as interrupt:
            finalized(number)
            with pytest.raises(KeyboardInterrupt):
                interrupt.sleep(0)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_an_interrupt_that_this_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with KeptInterrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            interrupt.sleep(0)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_deferred_interrupt_comes_when_the_block_has_ended():
    finished = []

    def interrupted_block():
        with deferred_interrupts():
            signal.raise_signal(signal.SIGINT)
            finished.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a process of a shell's background
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_block()
    finally:
        signal.signal(signal.SIGINT, before)
    assert finished
