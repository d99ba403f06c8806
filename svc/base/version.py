"""The version of svc, with a digest of its code to distinguish builds with the same version number."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from svc.base.own_commands import DISTRIBUTION

PACKAGE = Path(__file__).parents[1]
HEADER = "X-Svc-Version"


def installed() -> str:
    """Return the version of the code on disk, as VERSION+DIGEST."""
    digest = hashlib.sha256()
    for name in sorted(_source_files()):
        digest.update(f"{name}\0".encode())
        with open(f"{PACKAGE}/{name}", "rb") as file:
            digest.update(file.read() + b"\0")
    return f"{number()}+{digest.hexdigest()[:8]}"


def _source_files() -> Iterator[str]:
    """Yield the path of each module in the package. Path.rglob would take three times as long, at every start."""
    for directory, _, names in os.walk(PACKAGE):
        prefix = directory[len(str(PACKAGE)) + 1 :]
        yield from (f"{prefix}/{name}".lstrip("/") for name in names if name.endswith(".py"))


def number() -> str:
    """Return the version number of the installed package; `0` in a checkout that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"


@cache
def running() -> str:
    """Return the version of the code that this process runs.

    The first call computes the version, so a server makes it at startup, before an upgrade can replace the files.
    """
    try:
        return installed()
    except OSError:
        return ""
