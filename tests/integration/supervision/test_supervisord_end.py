"""Commands that meet a supervisord that is shutting down: they wait for its end, or say that the site is stopping."""

import threading

import pytest

from svc.base.errors import SvcError
from svc.config.site import Site
from svc.site import observe, shutdown
from svc.site.supervisord_end import SupervisordEnding, running_supervisord


class SilentProgress:
    """Progress that prints nothing."""

    def show(self, *_):
        pass

    done = note = show


@pytest.fixture
def site(supervisord):
    """Return a site whose supervisord runs a program that takes two seconds to stop."""
    site = Site(supervisord.root)
    site.make_dirs()
    site.socket.symlink_to(supervisord.root / "s.sock")
    supervisord.program("slow", "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", stopwaitsecs=2)
    supervisord.start().await_state("slow", "RUNNING")
    return site


def test_downs_at_once_all_wait_for_the_end(supervisord, site):
    failures = []

    def down():
        try:
            shutdown.down(site, SilentProgress())
        except SvcError as error:
            failures.append(error)

    threads = [threading.Thread(target=down) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert supervisord.process.wait(1) == 0


def test_a_status_says_that_the_site_is_stopping_and_a_start_waits_for_the_end(supervisord, site):
    supervisord.client.shutdown()
    with pytest.raises(SupervisordEnding, match=r"stopping: supervisord \(pid \d+\) is shutting down; repeat") as error:
        observe.snapshot(site, "")
    assert error.value.pid == supervisord.process.pid
    notes = []
    assert running_supervisord(site, notes.append) is None
    assert supervisord.process.wait(1) == 0
    assert notes == [f"the site is stopping: waiting for the end of supervisord (pid {supervisord.process.pid})"]
