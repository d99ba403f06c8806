"""The console script around a command."""

import atexit
import gc
import sys

import pytest

from svc.__main__ import main, print_exception


def test_an_uncaught_exception_cannot_act_on_the_terminal(capsys):
    try:
        raise RuntimeError("model \x1b]0;owned\x07 and\nTraceback of another")
    except RuntimeError:
        print_exception(*sys.exc_info())
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert "RuntimeError: model \\x1b]0;owned\\x07 and" in printed
    assert "\x1b" not in printed


def test_the_console_script_escapes_uncaught_exceptions(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["svc", "launch", "--"])
    with pytest.raises(SystemExit):
        main()
    assert sys.excepthook is print_exception


def test_at_its_end_a_process_collects_no_garbage(monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["svc", "launch", "--"])
    with pytest.raises(SystemExit):
        main()
    assert at_exit == [gc.freeze]
