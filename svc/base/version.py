"""Which svc this is: its version, and a digest of the code, which tells an upgrade that nobody gave a new number."""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parents[1]
HEADER = "X-Svc-Version"


def installed() -> str:
    """What is on disk now, as VERSION+DIGEST."""
    told = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        told.update(f"{path.relative_to(HERE)}\0".encode())
        told.update(path.read_bytes() + b"\0")
    try:
        number = metadata.version("infinilm-svc")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        number = "0"
    return f"{number}+{told.hexdigest()[:8]}"


@cache
def running() -> str:
    """What this process is made of; whatever runs for long asks as it starts."""
    try:
        return installed()
    except OSError:
        return ""
