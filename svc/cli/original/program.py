"""Runs a command of svc from a program of another name."""

import sys
from collections.abc import Sequence
from pathlib import Path

from svc.__main__ import print_exception


def run_as_svc(arguments: Sequence[str]) -> None:
    """Run a command of svc; it ends this process."""
    prepare(arguments)
    from svc.cli.main import svc

    svc(list(arguments), prog_name="svc")


def prepare(arguments: Sequence[str] = ()) -> None:
    """Make this process look like a call of `svc`, because messages quote commands as they were called."""
    sys.excepthook = print_exception
    sys.argv = [str(Path(sys.executable).parent / "svc"), *arguments]
