"""A browser for each file of tests, closed at its end: Playwright's loop must not run beside other tests' own."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import chromium
from tests.browser.fleet import Fleet, fleet
from tests.browser.screen import Screen

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(browser) -> Iterator[Fleet]:
    """Two mocks and a real model."""
    if importlib.util.find_spec("xllamacpp") is None and not os.environ.get("CI"):
        pytest.skip("the llama extra is not installed")
    with fleet(real=True) as site:
        yield site


@pytest.fixture
def look(browser) -> Iterator[Callable[..., Screen]]:
    """look(router, **context): a page of it, closed at the end; it must not have had a problem."""
    opened: list[Screen] = []

    def at(router: str, **context: Any) -> Screen:
        opened.append(Screen(browser, router, **context))
        return opened[-1].open()

    yield at
    for screen in opened:
        screen.close()
