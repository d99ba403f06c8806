"""The part of a terminal that is written in place."""

import io

import pytest
from rich.text import Text

from svc.terminal.console import Console
from svc.terminal.screen import UNLIMITED_COLUMNS, Screen, width_of

CLEAR = "\x1b[2J"


@pytest.fixture(autouse=True)
def default_sigterm():
    import signal

    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def terminal(width: int = 40, height: int = 10) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, _environ={"TERM": "xterm"})


def test_a_line_takes_one_line_however_long_it_is():
    out = terminal()
    with Screen(out) as screen:
        screen.show([Text("a word " * 20), Text("last")])
    assert "…" in out.file.getvalue()
    assert out.file.getvalue().count("\n") == 3, "between the two, twice as it is shown again at its end, and after it"


def test_the_screen_is_cleared_when_its_size_has_changed():
    out = terminal()
    with Screen(out) as screen:
        screen.show([Text("before")])
        screen.show([Text("same")])
        assert CLEAR not in out.file.getvalue()
        out.width = 30
        screen.show([Text("after")])
        assert out.file.getvalue().count(CLEAR) == 1


def test_only_a_terminal_or_columns_has_a_width(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width_of(terminal()) == 40
    assert width_of(Console(file=io.StringIO())) == UNLIMITED_COLUMNS
    monkeypatch.setenv("COLUMNS", "100")
    assert width_of(Console(file=io.StringIO())) == 100
