"""Debian's Chromium, driven by Playwright, without the network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.debian import program


@contextmanager
def chromium(*more: str) -> Iterator["playwright.sync_api.Browser"]:  # noqa: F821 - imported where it is there
    """Skips the test where Playwright or Chromium is missing, on a machine other than CI's; `more` are its flags.

    The build that shows no window renders alike, and costs two fifths of the CPU (test_layout.py: 13 s, and 32 s).
    """
    path = shutil.which("chromium-headless-shell") or program("chromium", "chromium")
    if os.environ.get("CI"):
        import playwright.sync_api as driven
    else:
        driven = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
    # Without `--disable-gpu`, a GPU that the machine does not have is simulated: a page costs a fifth more.
    flags = ["--disable-dev-shm-usage", "--disable-gpu", *more, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with driven.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
