"""The processes of this machine, by session."""

from contextlib import suppress

from svc.base import procfs


def members(session: int) -> list[int]:
    """Return the live processes of a session; programs under supervisord are in supervisord's session."""
    pids = []
    for pid in procfs.process_ids():
        with suppress(OSError):
            stat = procfs.stat(pid)
            if stat.session == session and stat.state != "Z":
                pids.append(pid)
    return pids
