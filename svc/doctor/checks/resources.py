"""Room on the disks, and open files."""

from collections.abc import Iterator

from svc.doctor.facts import Disk, Facts, Open
from svc.doctor.findings import PROBLEM, WARNING, Finding

FULL, LOW = 100 << 20, 1 << 30  # bytes that are free
FEW = 0.02  # share of the inodes, or of the bytes of a small disk
MOST = 0.8  # share of the files that a program may open
LEAST_LIMIT = 1024


def check(facts: Facts) -> Iterator[Finding]:
    for disk in facts.disks:
        yield from _disk(disk)
    for one in facts.open:
        yield from _open(one)


def _disk(disk: Disk) -> Iterator[Finding]:
    why = f"{disk.free >> 20} MB of {disk.size >> 30} GB are free, and {disk.inodes:.0%} of the inodes"
    fix = f"du -xah {disk.path}/.. | sort -h | tail -20"
    if not disk.writable:
        yield Finding(
            f"disk.{disk.path}",
            PROBLEM,
            f"{disk.path}: this user cannot write there",
            "its owner is another, or it is read-only",
            first="become its owner, or",
            fix=f"sudo chown -R $(id -u) {disk.path}",
        )
    elif disk.free < FULL or disk.inodes <= 0:
        yield Finding(
            f"disk.{disk.path}",
            PROBLEM,
            f"the disk of {disk.path}/ is full",
            why,
            fix=fix,
            first="make room; see what takes it",
        )
    elif disk.free < min(LOW, FEW * disk.size) or disk.inodes < FEW:
        yield Finding(
            f"disk.{disk.path}",
            WARNING,
            f"the disk of {disk.path}/ is nearly full",
            why,
            fix=fix,
            first="make room; see what takes it",
        )


def _open(one: Open) -> Iterator[Finding]:
    if one.used > MOST * one.limit:
        yield Finding(
            f"open.{one.program}",
            PROBLEM,
            f"{one.program}: nearly all the files that it may open are open",
            f"{one.used} of {one.limit}",
            first="raise the limit (ulimit -n, or LimitNOFILE= of the unit)",
            fix="svc down && svc up",
        )
    elif one.limit < LEAST_LIMIT:
        yield Finding(
            f"open.{one.program}",
            WARNING,
            f"{one.program}: may open {one.limit} files only",
            f"each request takes two, and {one.used} are open",
            first="raise the limit (ulimit -n, or LimitNOFILE= of the unit)",
            fix="svc down && svc up",
        )
