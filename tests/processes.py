"""The processes of this machine, by session."""

from contextlib import suppress

from svc.base import procfs
from tests.waiting import wait_until


def members(session: int) -> list[int]:
    """Return the live processes of a session; programs under supervisord are in supervisord's session."""
    pids = []
    for pid in procfs.process_ids():
        with suppress(OSError):
            stat = procfs.stat(pid)
            if stat.session == session and stat.state != "Z":
                pids.append(pid)
    return pids


def await_end(session: int) -> None:
    """Wait until no process of a session runs: a killed worker may hold the port a moment longer than its master."""
    wait_until(lambda: not members(session), description=f"the end of session {session}", interval=0.01)
