"""Ctrl-C in a finalizer, where Python would print the exception and go on."""

import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from svc.terminal.console import Console


class Finalized: ...


def interrupt_in_a_finalizer() -> None:
    weakref.finalize(Finalized(), signal.raise_signal, signal.SIGINT)


class InterruptedConsole(Console):
    """A console at which Ctrl-C is pressed in a finalizer while it prints a line."""

    def print_line(self, text: Any, style: str = "") -> None:
        interrupt_in_a_finalizer()


@contextmanager
def interrupted() -> Iterator[None]:
    """Expect Ctrl-C to end the block as it ends a command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
