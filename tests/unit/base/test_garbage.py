"""Python collects no garbage while a command of svc starts, and a server's collections skip what it has imported."""

import gc
import subprocess
import sys

import pytest

from svc.__main__ import GC_THRESHOLD
from svc.base import garbage

START = """
import gc, importlib, sys
gc.set_threshold({threshold})
started = []
gc.callbacks.append(lambda phase, info: started.append(phase))
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(started))
"""


@pytest.mark.parametrize(
    "modules",
    [("svc.cli.babysitter", "svc.babysitter.serve"), ("svc.cli.router", "svc.router.worker", "svc.router.app")],
    ids=lambda modules: modules[1],
)
def test_the_imports_of_a_server_collect_no_garbage(modules):
    code = START.format(threshold=GC_THRESHOLD)
    result = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True)
    assert result.stdout == "0\n"


def test_what_a_server_has_imported_is_not_examined_again():
    thresholds = gc.get_threshold()
    try:
        garbage.begin_collections()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] == garbage.THRESHOLD < GC_THRESHOLD
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
