"""No signal is lost between a fork and the moment when the child has handlers of its own."""

import os
import signal

HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def hold() -> None:
    """From now on, what comes during a fork of this process waits: here until it is over, in the child for `let`."""
    let()  # an earlier life of this process may have held them
    here = os.getpid()

    def mask(how: int) -> None:
        if os.getpid() == here:  # the child's own forks are its own business
            signal.pthread_sigmask(how, HELD)

    os.register_at_fork(before=lambda: mask(signal.SIG_BLOCK), after_in_parent=lambda: mask(signal.SIG_UNBLOCK))


def let() -> None:
    """To be called in the child, once it has its handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
