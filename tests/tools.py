"""Programs of Debian's that tests run; where one is missing the test is skipped, except in CI, which installs them."""

import os
import shutil

import pytest


def tool(program: str, package: str) -> str:
    """Its path."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not found:
        missing = f"{program} is not installed (Debian: apt install {package})"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return found
