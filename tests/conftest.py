"""For all tests: what they start can be interrupted, also where a shell runs them in the background; and it finds
what Debian keeps for administrators (nginx, nft, logrotate) whoever runs them."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# A busy machine may take any time for one example; what takes too long altogether fails by the clock of the suite.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# The files with few, long tests run first, and the many short tests fill all processes at the end.
# By itself, pytest-xdist starts with the files that have the most tests: one process still works when the rest is idle.
SLOWEST_FIRST = ("e2e", "documents", "browser", "integration", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the directories in the order of SLOWEST_FIRST; within one, the order stays."""
    root = Path(__file__).parent
    items.sort(key=lambda item: SLOWEST_FIRST.index(item.path.relative_to(root).parts[0]))
