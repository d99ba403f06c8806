"""The start of programs while another command shuts supervisord down."""

import pytest

from svc.base.errors import CommandError, Unavailable
from svc.base.signals import KeptInterrupt
from svc.config.site import Site
from svc.site.components import Component
from svc.site.startup import start_programs, wait_until_ready
from svc.terminal.delay_report import DelayReport
from tests.unit.site.interrupts import interrupt_in_a_finalizer, interrupted


class NoProcesses:
    """A supervisord that has started no program yet."""

    def processes(self):
        return {}


class Progress:
    """Does what `on_show` does when the state of a component is shown."""

    def __init__(self, on_show):
        self.on_show = on_show

    def show(self, name, text):
        self.on_show()


def wait(progress, timeout, sleep):
    registry = Component("registry", "registry", "127.0.0.1", (18000,), ("registry",))
    wait_until_ready(NoProcesses(), [registry], [registry], timeout, progress, DelayReport(None, print), sleep)


def test_ctrl_c_in_a_finalizer_ends_the_wait():
    with interrupted(), KeptInterrupt() as interrupt:
        wait(Progress(interrupt_in_a_finalizer), 60, interrupt.sleep)


def test_a_component_that_is_not_ready_in_time_is_an_error():
    with pytest.raises(CommandError, match="registry: not ready after 0 s: starting"):
        wait(Progress(lambda: None), 0, lambda seconds: None)


def test_programs_are_started_again_if_supervisord_ends_meanwhile(tmp_path):
    site, calls = Site(tmp_path), []
    site.make_dirs()

    def run():
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("supervisord is shutting down")

    start_programs(site, run)
    assert len(calls) == 2
