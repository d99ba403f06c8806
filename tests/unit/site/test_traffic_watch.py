"""`svc top` ends with Ctrl-C, whenever it comes."""

import io

import pytest

from svc.site.traffic_watch import watch
from tests.unit.site.interrupts import InterruptedConsole, interrupted


@pytest.mark.timeout(30)
def test_an_interrupt_in_a_finalizer_ends_it():
    with interrupted():
        watch("http://127.0.0.1:9", 0.01, None, "name", InterruptedConsole(file=io.StringIO()), as_json=False)
