"""Programs of Debian packages that tests drive."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Its path. Without it the test is skipped, on a machine other than CI's, which has what .ci/run installs."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed (Debian: apt install {package})"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return str(found)
