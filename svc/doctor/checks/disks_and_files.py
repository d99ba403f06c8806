"""Checks the free space on disks, and the number of files that programs have open."""

import shlex
from collections.abc import Iterator

from svc.doctor.facts import Disk, Facts, OpenFiles
from svc.doctor.findings import PROBLEM, WARNING, Finding

FULL_BYTES, LOW_BYTES = 100 << 20, 1 << 30  # a disk with fewer free bytes counts as full, or as nearly full
LOW_SHARE = 0.02  # a disk with a smaller share of free inodes, or of free bytes if it is small, is nearly full
MAX_OPEN_SHARE = 0.8  # a larger share of a program's open-file limit leads to a finding
MIN_OPEN_FILE_LIMIT = 1024


def check(facts: Facts) -> Iterator[Finding]:
    for disk in facts.disks:
        yield from _disk(facts, disk)
    for files in facts.open_files:
        yield from _open_files(files)


def _disk(facts: Facts, disk: Disk) -> Iterator[Finding]:
    evidence = f"{disk.free >> 20} MB of {disk.size >> 30} GB are free, and {disk.inodes:.0%} of the inodes"
    path = shlex.quote(disk.path)
    fix = f"du -xah {path}/.. | sort -h | tail -20"
    if not disk.writable and facts.other_owner:
        # The cure is no chown: after it, the site's programs, which run as the owner, could not write there any more.
        yield Finding(
            f"disk.{disk.path}",
            WARNING,
            f"{disk.path}: this user cannot write there, only the site's owner, {facts.other_owner}",
            "`svc up`, `svc apply` and rollouts need it",
            fix=f"sudo -u {facts.other_owner} svc doctor",
            causes=("supervisord.denied",),
        )
    elif not disk.writable:
        yield Finding(
            f"disk.{disk.path}",
            PROBLEM,
            f"{disk.path}: this user cannot write there",
            "its owner is another, or it is read-only",
            first_step="become its owner, or",
            fix=f"{facts.sudo}chown -R $(id -u) {path}",
            causes=("supervisord.denied",),
        )
    elif disk.free < FULL_BYTES or disk.inodes <= 0:
        yield Finding(
            f"disk.{disk.path}",
            PROBLEM,
            f"the disk of {disk.path}/ is full",
            evidence,
            fix=fix,
            first_step="make room; see what takes it",
        )
    elif disk.free < min(LOW_BYTES, LOW_SHARE * disk.size) or disk.inodes < LOW_SHARE:
        yield Finding(
            f"disk.{disk.path}",
            WARNING,
            f"the disk of {disk.path}/ is nearly full",
            evidence,
            fix=fix,
            first_step="make room; see what takes it",
        )


def _open_files(files: OpenFiles) -> Iterator[Finding]:
    if files.used > MAX_OPEN_SHARE * files.limit:
        yield Finding(
            f"open.{files.program}",
            PROBLEM,
            f"{files.program}: nearly all the files that it may open are open",
            f"{files.used} of {files.limit}",
            first_step="raise the limit (`ulimit -n 65536` in this shell, or LimitNOFILE= of the unit)",
            fix="svc down && svc up",
        )
    elif files.limit < MIN_OPEN_FILE_LIMIT:
        yield Finding(
            f"open.{files.program}",
            WARNING,
            f"{files.program}: may open {files.limit} files only",
            f"each request takes two, and {files.used} are open",
            first_step="raise the limit (`ulimit -n 65536` in this shell, or LimitNOFILE= of the unit)",
            fix="svc down && svc up",
        )
