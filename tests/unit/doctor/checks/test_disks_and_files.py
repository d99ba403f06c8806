"""Findings about disks and open files."""

import pytest

from svc.doctor.facts import (
    Disk,
    OpenFiles,
)
from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor.sample_site import findings


@pytest.mark.parametrize(
    ("disk", "severity"),
    [
        (Disk("var", free=1 << 20), PROBLEM),
        (Disk("var", inodes=0.0), PROBLEM),
        (Disk("var", writable=False), PROBLEM),
        (Disk("var", free=500 << 20), WARNING),
        (Disk("var", inodes=0.01), WARNING),
        (Disk("var", free=40 << 20, size=50 << 20), PROBLEM),
    ],
)
def test_a_full_or_unwritable_disk_is_found(disk, severity):
    [result] = findings(disks=[disk]).values()
    assert (result.key, result.severity) == ("disk.var", severity)


def test_programs_near_their_limit_of_open_files():
    result = findings(
        open_files=[OpenFiles("router", 900, 1000), OpenFiles("registry", 10, 256), OpenFiles("a:server", 900, 20000)]
    )
    assert {f.key: f.severity for f in result.values()} == {"open.router": PROBLEM, "open.registry": WARNING}
