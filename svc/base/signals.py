"""Signals around forks: none is lost before a child has its handlers, and a child dies with its parent."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def block_during_forks() -> None:
    """Block the stop signals during each later fork of this process.

    The parent unblocks them after the fork. The child keeps them blocked until it calls `unblock`.
    """
    unblock()  # gunicorn re-executes its master on SIGUSR2, and a signal mask survives an exec
    parent = os.getpid()

    def mask(how: int) -> None:
        if os.getpid() == parent:  # the hooks are inherited, and the child's own forks are not concerned
            signal.pthread_sigmask(how, STOP_SIGNALS)

    os.register_at_fork(before=lambda: mask(signal.SIG_BLOCK), after_in_parent=lambda: mask(signal.SIG_UNBLOCK))


def unblock() -> None:
    """Unblock the stop signals; a child calls it once its handlers are installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def die_with_parent(sig: signal.Signals, parent: int = 0) -> None:
    """Let the kernel send `sig` to this process when its parent dies; send it now if the parent has died already.

    `parent` is the pid that the parent had; 0 stands for the current one. A later fork does not inherit this setting,
    an exec keeps it.
    """
    expected = parent or os.getppid()
    set_parent_death_signal(sig)
    if os.getppid() != expected:
        os.kill(os.getpid(), sig)


def set_parent_death_signal(number: int) -> None:
    """Let the kernel send this signal when the parent dies. The caller checks whether it has died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), *[ctypes.c_ulong(0)] * 3)
