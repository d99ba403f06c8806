"""Prevent the loss of signals during forks and in finalizers, and let a child process die with its parent."""

import contextlib
import ctypes
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType, TracebackType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class KeptInterrupt:
    """A context manager that prevents the loss of Ctrl-C in a finalizer: the next `sleep` raises KeyboardInterrupt.

    Outside finalizers, Ctrl-C raises KeyboardInterrupt at once. In a finalizer, Python would print the exception and
    ignore it. Finalizers run often, because each HTTP request ends with the finalizer of its connection pool.
    The same applies to SIGTERM where it is handled like Ctrl-C.
    """

    def __init__(self) -> None:
        self._received = False
        self._replaced: list[signal.Signals] = []

    def __enter__(self) -> "KeptInterrupt":
        if threading.current_thread() is threading.main_thread():  # only the main thread may set handlers
            signals = (signal.SIGINT, signal.SIGTERM)
            self._replaced = [number for number in signals if signal.getsignal(number) is signal.default_int_handler]
        for number in self._replaced:
            signal.signal(number, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number in self._replaced:
            signal.signal(number, signal.default_int_handler)

    def sleep(self, seconds: float) -> None:
        """Sleep; raise KeyboardInterrupt if Ctrl-C is pressed meanwhile or was pressed during an earlier finalizer."""
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


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM until the block ends, so that its work is never left half done."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda n, _: received.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for first in received[:1]:
        signal.raise_signal(first)


def block_during_forks() -> None:
    """Block the stop signals during each later fork of this process.

    The parent unblocks the signals after the fork. The child keeps them blocked until it calls `unblock`.
    """
    unblock()  # a signal mask survives an exec, and gunicorn re-executes its master on SIGUSR2
    parent = os.getpid()

    def mask(how: int) -> None:
        if os.getpid() == parent:  # the child inherits the hooks, which must not affect its own forks
            signal.pthread_sigmask(how, STOP_SIGNALS)

    os.register_at_fork(before=lambda: mask(signal.SIG_BLOCK), after_in_parent=lambda: mask(signal.SIG_UNBLOCK))


def unblock() -> None:
    """Unblock the stop signals; a child calls this after it has installed its handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def die_with_parent(sig: signal.Signals, parent: int = 0) -> None:
    """Make the kernel send `sig` to this process when its parent dies; send it now if the parent is dead already.

    `parent` is the pid of the parent that must be alive; 0 means the current parent. The setting survives an exec; a
    forked child does not inherit it.
    """
    expected = parent or os.getppid()
    set_parent_death_signal(sig)
    if os.getppid() != expected:
        os.kill(os.getpid(), sig)


def set_parent_death_signal(number: int) -> None:
    """Make the kernel send signal `number` to this process when its parent dies.

    The kernel sends nothing if the parent is dead already. So the caller must afterwards check that the parent lives.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), *[ctypes.c_ulong(0)] * 3)
