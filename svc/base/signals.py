"""Keep stop signals from being lost between a fork and the moment when the child has installed its handlers."""

import os
import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def hold_during_forks() -> None:
    """Block the stop signals during each later fork of this process.

    The parent unblocks them after the fork. The child keeps them blocked until it calls `release`.
    """
    release()  # gunicorn re-executes its master on SIGUSR2, and a signal mask survives an exec
    parent = os.getpid()

    def mask(how: int) -> None:
        if os.getpid() == parent:  # the hooks are inherited, and the child's own forks are not held
            signal.pthread_sigmask(how, STOP_SIGNALS)

    os.register_at_fork(before=lambda: mask(signal.SIG_BLOCK), after_in_parent=lambda: mask(signal.SIG_UNBLOCK))


def release() -> None:
    """Unblock the stop signals; a child calls it once its handlers are installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
