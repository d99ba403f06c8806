"""Runs a command of svc inside a program with a different name."""

import sys
from collections.abc import Sequence
from pathlib import Path

from svc.__main__ import print_exception


def run_as_svc(arguments: Sequence[str]) -> None:
    """Run a command of svc. This process ends with the command."""
    prepare(arguments)
    from svc.cli.main import svc

    svc(list(arguments), prog_name="svc")


def prepare(arguments: Sequence[str] = ()) -> None:
    """Set sys.argv as if the user had run `svc` with `arguments`, because messages contain the command that was run."""
    sys.excepthook = print_exception
    sys.argv = [str(Path(sys.executable).parent / "svc"), *arguments]
