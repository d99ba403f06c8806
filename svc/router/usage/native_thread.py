"""Runs a blocking function in a native thread, while other greenlets go on.

A commit of 100 rows takes 1 ms, one of 2,000 rows 60 ms, a checkpoint as long as the disk needs, and a locked file 5 s.
If the greenlet of a relaying process made the call itself, no request would go on meanwhile. In a native thread, SQLite
needs Python's lock only where a statement begins and ends: while 2,000 rows were written on a busy machine, other
greenlets were delayed by 16 ms at most, and by 73 ms without the thread.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

IDLE_SECONDS = 0.01  # after this time the thread ends: a second thread makes each system call dearer

T = TypeVar("T")


class NativeThread:
    """A native thread that runs one function after the other. Without gevent, the calling thread runs them itself."""

    def __init__(self) -> None:
        self._apply: Callable[..., object] | None = None

    def run(self, function: Callable[[], T]) -> T:
        """Return the function's result, or raise what it raises."""
        if self._apply is None:
            self._apply = _gevent_apply()
        outcome = self._apply(partial(_outcome, function))
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome  # type: ignore[return-value]  # gevent's `apply` has no types


class _Raised(NamedTuple):
    error: Exception


def _outcome(function: Callable[[], object]) -> object:
    """Return the function's result or what it has raised: gevent would print an exception that reaches its thread."""
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - `run` raises it again
        return _Raised(error)


def _gevent_apply() -> Callable[..., object]:
    try:
        from gevent import monkey
        from gevent.threadpool import ThreadPool
    except ImportError:
        return _call
    if not monkey.is_module_patched("threading"):
        return _call
    apply: Callable[..., object] = ThreadPool(1, idle_task_timeout=IDLE_SECONDS).apply
    return apply


def _call(function: Callable[[], object]) -> object:
    return function()
