"""Setup of all tests.

Processes that they start can be interrupted, even where a shell runs pytest in the background, and find the programs
that Debian installs for administrators (nginx, nft, logrotate), whichever user runs the tests.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # child processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# A busy machine may need any time for one example; the time limit of the suite ends tests that hang.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# The files with few, long tests run first, and the many short tests fill all processes at the end.
# By itself, pytest-xdist starts with the files that have the most tests: one process still works when the rest is idle.
SLOWEST_FIRST = ("e2e", "conformance", "documents", "browser", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the directories in the order of SLOWEST_FIRST; within one, the order stays."""
    root = Path(__file__).parent
    items.sort(key=lambda item: SLOWEST_FIRST.index(item.path.relative_to(root).parts[0]))
