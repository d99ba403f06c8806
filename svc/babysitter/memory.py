"""How much memory an instance uses: its process, its workers, and whatever those started."""

import re
from collections.abc import Iterable

from svc.base import procfs
from svc.supervision import orphans

KB = re.compile(rb"^(VmRSS|VmSwap|Pss|SwapPss):\s+(\d+) kB", re.M)


def used(pid: int, limit: int) -> int:
    """Bytes, in memory or swapped out, of the process group of `pid` and all that its members started.

    What each process has is cheap to tell, but counts what workers share once for
    each of them: an upper bound. Only where that is over the limit are shared
    pages divided among those who share them (PSS), for which the kernel walks all
    of the page tables.
    """
    pids = orphans.tree(pid)
    most = _sum(pids, "status")
    return most if most <= limit else _sum(pids, "smaps_rollup")


def _sum(pids: Iterable[int], source: str) -> int:
    return sum(_of(pid, source) for pid in pids)


def _of(pid: int, source: str) -> int:
    try:
        return sum(int(value) for _, value in KB.findall(procfs.read(pid, source))) << 10
    except OSError:  # it has ended; or it is another's, or the kernel is old, and only the bound can be told
        return _of(pid, "status") if source != "status" else 0
