"""Programs of Debian packages that tests run."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Return the path of the program. Without it the test is skipped, but fails in CI: .ci/run installs it there."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed (Debian: apt install {package})"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return path
