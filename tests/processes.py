"""The processes of this machine, as /proc tells them."""

import os
from contextlib import suppress
from pathlib import Path


def members(session: int) -> list[int]:
    """The processes of a session that live; programs under supervisord are in supervisord's."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) == session and stat[0] != "Z":
                found.append(int(name))
    return found
