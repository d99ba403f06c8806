"""The source files of svc, for tests that read them."""

from pathlib import Path

import svc

ROOT = Path(svc.__file__).parent


def modules() -> list[str]:
    """Return the path of every module, relative to svc/."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))
