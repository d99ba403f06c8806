"""The version of svc, with a digest of its code to distinguish builds with the same version number."""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

from svc.base.own_commands import DISTRIBUTION

PACKAGE = Path(__file__).parents[1]
HEADER = "X-Svc-Version"


def installed() -> str:
    """Return the version of the code on disk, as VERSION+DIGEST."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return f"{number()}+{digest.hexdigest()[:8]}"


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
