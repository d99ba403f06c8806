"""`svc status --watch` ends with Ctrl-C, whenever it comes."""

import io

import pytest

from svc.config.site import Site
from svc.site.status_watch import watch
from tests.unit.site.interrupts import InterruptedConsole, interrupted


@pytest.mark.timeout(30)
def test_an_interrupt_in_a_finalizer_ends_it(tmp_path):
    with interrupted():
        watch(Site(tmp_path), "", "http://127.0.0.1:9", InterruptedConsole(file=io.StringIO()), as_json=False)
