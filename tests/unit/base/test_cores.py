import os
from pathlib import Path

import pytest

from svc.base.cores import usable_cores

ALL = len(os.sched_getaffinity(0))


def machine(root: Path, cgroup: str, **limits: str) -> Path:
    """Write the files of a process in this cgroup; the limits are by directory, the mount's as `mount`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for directory, limit in limits.items():
        folder = root / "sys/fs/cgroup" / ("" if directory == "mount" else directory.replace("_", "/"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(limit)
    return root


@pytest.mark.parametrize(
    ("cgroup", "limits", "cores"),
    [
        ("0::/\n", {"mount": "100000 100000\n"}, 1),
        ("0::/system/svc\n", {"system_svc": "max 100000\n", "system": "50000 100000\n"}, 1),
        ("0::/\n", {"mount": "max 100000\n"}, ALL),
        ("0::/\n", {"mount": "99900000 100000\n"}, ALL),
        ("0::/\n", {}, ALL),
        ("0::/\n", {"mount": "odd\n"}, ALL),
        ("4:cpu:/x\n", {"mount": "100000 100000\n"}, 1),
    ],
)
def test_a_cgroup_limits_the_cores(tmp_path, cgroup, limits, cores):
    assert usable_cores(machine(tmp_path, cgroup, **limits)) == cores


def test_without_cgroups_all_cores_of_the_cpu_set_count(tmp_path):
    assert usable_cores(tmp_path) == ALL


@pytest.mark.skipif(ALL < 2, reason="one core is the minimum")
def test_a_part_of_a_core_counts_as_one(tmp_path):
    assert usable_cores(machine(tmp_path, "0::/\n", mount="110000 100000\n")) == 2
