"""Recognizes a supervisord that is shutting down, for example because of another `svc down`, and waits for its end."""

import contextlib
import time
from collections.abc import Callable, Iterator

from svc.base.errors import Unavailable
from svc.config.site import Site
from svc.site import supervisord_process
from svc.site.supervisord_process import SupervisordUnusable
from svc.supervision import supervisord_search
from svc.supervision.client import SupervisordClient

POLL_INTERVAL_SECONDS = 0.1


class SupervisordEnding(SupervisordUnusable):
    """The site's supervisord is shutting down, or has ended during a command. `pid` is None if it has ended."""


def is_ending(site: Site) -> bool:
    """Return whether the supervisord of a site is shutting down, or has ended."""
    supervisord = supervisord_process.connect(site)
    try:
        return supervisord is None or supervisord.state() == "SHUTDOWN"
    except Unavailable:  # supervisord has ended meanwhile, or hangs
        return supervisord_process.connect(site) is None


@contextlib.contextmanager
def explained(site: Site) -> Iterator[None]:
    """If the block raises Unavailable because the site's supervisord ends, raise SupervisordEnding instead.

    Raise SupervisordStopped if a signal has stopped supervisord meanwhile.
    """
    try:
        yield
    except Unavailable:
        if not is_ending(site):  # raises SupervisordStopped if a signal has stopped supervisord
            raise
        pid = supervisord_search.running_pid(site)
        raise SupervisordEnding(ending_text(pid), pid) from None


def ending_text(pid: int | None) -> str:
    """Return the message for a supervisord that is shutting down, or has ended if `pid` is None."""
    if pid is None:
        return "the site has stopped meanwhile: its supervisord has ended; repeat the command"
    return f"the site is stopping: supervisord (pid {pid}) is shutting down; repeat the command in some seconds"


def running_supervisord(site: Site, note: Callable[[str], object]) -> SupervisordClient | None:
    """Return a client of the supervisord that runs on the site, or None if none runs.

    If supervisord is shutting down, call `note` with a line about that, and wait for its end first.
    """
    is_noted = False
    while (supervisord := supervisord_process.find(site)) is not None and is_ending(site):
        if not is_noted and (pid := supervisord_search.running_pid(site)):
            note(f"the site is stopping: waiting for the end of supervisord (pid {pid})")
            is_noted = True
        time.sleep(POLL_INTERVAL_SECONDS)
    return supervisord
