"""Setup of all tests.

Processes that they start can be interrupted, even where a shell runs pytest in the background, and find the programs
that Debian installs for administrators (nginx, nft, logrotate), whichever user runs the tests.
"""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # child processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# A busy machine may need any time for one example; the time limit of the suite ends tests that hang. Each run draws
# other examples; `bin/test.sh --all` draws many at once: --hypothesis-profile thorough.
settings.register_profile("few", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("few")

gc.set_threshold(20_000)  # as svc does: with Python's own 700, collections take a seventh of the time of imports

# pytest-xdist gives out files in this order (by itself, those with the most tests first: at the end one process would
# still work on a file of few, long tests). Tests of whole sites compute, and most tests of integration wait: a mixture
# uses the cores best. The many short tests fill all processes at the end. The files of a directory with a site of its
# own come first, one after the other: an idle site costs a twentieth of a core. Those of the documents follow, because
# two of them take minutes: the last file to begin should be a short one.
TESTS = Path(__file__).parent
SHARING_A_SITE = Path("e2e", "doctor")
COMPUTING = ("documents", "e2e", "conformance", "browser")
WAITING = ("integration",)
SHORT = ("unit",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with SHARING_A_SITE, mix the files of COMPUTING with those of WAITING, evenly, and end with SHORT.

    Within a file, the order stays.
    """
    files = list(dict.fromkeys(item.path for item in items))
    place: dict[Path, tuple[int, float]] = {
        path: (-1, 0) for path in files if path.is_relative_to(TESTS / SHARING_A_SITE)
    }
    for folders in (COMPUTING, WAITING, SHORT):
        group = [path for folder in folders for path in files if path not in place and _folder(path) == folder]
        place.update({path: (folders == SHORT, number / len(group)) for number, path in enumerate(group)})
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish() -> None:
    """Exclude the tests themselves and all modules from later garbage collections, which took 0.3 s each."""
    gc.collect()
    gc.freeze()


def _folder(path: Path) -> str:
    """Return the name of the directory in tests/ that a file belongs to."""
    return path.relative_to(TESTS).parts[0]
