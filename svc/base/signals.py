"""No signal is lost: around forks, before a child has its handlers, and in finalizers. A child dies with its parent."""

import ctypes
import os
import signal
import threading
import time
import weakref
from types import FrameType, TracebackType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class KeptInterrupt:
    """Raises KeyboardInterrupt at Ctrl-C while the block runs; if that comes in a finalizer, in the next `sleep`.

    Python prints and ignores what a finalizer raises, and each HTTP request ends with that of its connection pool.
    """

    def __init__(self) -> None:
        self._received = False
        self._replaces = (
            threading.current_thread() is threading.main_thread()  # only this thread may set handlers
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> "KeptInterrupt":
        if self._replaces:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._replaces:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def sleep(self, seconds: float) -> None:
        """Sleep; raise KeyboardInterrupt after Ctrl-C."""
        if self._received:
            raise KeyboardInterrupt
        time.sleep(seconds)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        self._received = True
        while frame is not None:
            if frame.f_code.co_name == "__del__" or frame.f_code is weakref.finalize.__call__.__code__:
                return
            frame = frame.f_back
        raise KeyboardInterrupt


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
