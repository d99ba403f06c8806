"""Signals at the master that would change the number of processes."""

import signal
import time

import pytest

from tests.integration.router.instance import Instance
from tests.integration.router.routers import router, service, static
from tests.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_a_signal_of_the_terminal_neither_adds_nor_removes_a_process(tmp_path, number):
    instance = Instance()
    path = static(tmp_path / "static.json", [service("a", instance.port, "m")])
    with router("--workers", 2, "--static-services", path, "--health-interval", 600) as own:
        before = own.processes()
        own.process.send_signal(number)
        time.sleep(0.2)  # of two pending signals, the kernel delivers the lower number first
        own.process.send_signal(signal.SIGUSR1)  # gunicorn logs this one once it has handled those before it
        wait_until(lambda: "Handling signal: usr1" in own.output(), description="the next signal")
        assert own.processes() == before
        assert own.ready()
        own.assert_no_exception()
    instance.close()
