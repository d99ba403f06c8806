"""The one system call that Python has no name for: dying together with one's parent."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(sig: signal.Signals, parent: int = 0) -> None:
    """The kernel sends `sig` to this process when its parent dies; at once, where that was before this call.

    `parent` is the pid that the parent had: 0 stands for the present one. The
    setting goes with the next fork, but stays through an exec.
    """
    expected = parent or os.getppid()
    ask_for(sig)
    if os.getppid() != expected:
        os.kill(os.getpid(), sig)


def ask_for(number: int) -> None:
    """From now on the parent's death sends this signal; whether it has died already is the caller's question."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), *[ctypes.c_ulong(0)] * 3)
