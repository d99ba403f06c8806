"""How many cores this process may use."""

import math
import os
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores, at least 1: those of the CPU set, or fewer if a cgroup limits the CPU time.

    `docker run --cpus` and systemd's CPUQuota set such a limit (cgroup v2, cpu.max). `root`: where /proc and /sys are.
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _cgroup_limit(root))))


def _cgroup_limit(root: Path) -> float:
    """Return how many cores' CPU time this process's cgroup and those above it allow; infinity without a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    mount = root / "sys/fs/cgroup"
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    groups = [mount / path, *(mount / path).parents]
    return min(_limit(group / "cpu.max") for group in groups if group.is_relative_to(mount))


def _limit(file: Path) -> float:
    """Return the limit in a file like `200000 100000` (microseconds in each period); infinity for `max` or no file."""
    try:
        quota, period = file.read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
