"""`svc status --watch` ends with Ctrl-C, whenever it comes."""

import io
import signal
import weakref

import pytest

from svc.config.site import Site
from svc.site.status_watch import watch
from svc.terminal.console import Console


class InterruptedConsole(Console):
    """A console at which Ctrl-C is pressed in a finalizer, once the first status has been printed."""

    def print_line(self, text: object, style: str = "") -> None:
        if not text:  # the line after a status
            weakref.finalize(Finalized(), signal.raise_signal, signal.SIGINT)


class Finalized: ...


@pytest.mark.timeout(30)
def test_an_interrupt_in_a_finalizer_ends_it(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            watch(Site(tmp_path), "", "http://127.0.0.1:9", InterruptedConsole(file=io.StringIO()), as_json=False)
    finally:
        signal.signal(signal.SIGINT, before)
