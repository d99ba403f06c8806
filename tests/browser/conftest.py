"""A browser for each test file, closed at its end: Playwright's event loop must not run beside those of other tests."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import chromium
from tests.browser.fake_stream import FakeRouter
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


@pytest.fixture
def fake() -> Iterator[FakeRouter]:
    router = FakeRouter(12)
    yield router
    router.end()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """Yield a page; an error in its console fails the test."""
    from tests.browser.alone import DEADLINE, expect

    context = browser.new_context()
    context.set_default_timeout(DEADLINE)
    expect.set_options(timeout=DEADLINE)
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
    )
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def whole(browser, request) -> Iterator[Fleet]:
    """Yield a site with two mocks and a model, a real one unless the module says `REAL_MODEL = False`."""
    real = getattr(request.module, "REAL_MODEL", True)
    if real and importlib.util.find_spec("xllamacpp") is None and not os.environ.get("CI"):
        pytest.skip("the llama extra is not installed")
    with fleet(real) as site:
        yield site


@pytest.fixture
def look(browser) -> Iterator[Callable[..., Screen]]:
    """Yield look(router, **context), which returns its page; the page is closed at the end and must have no problem."""
    opened: list[Screen] = []

    def at(router: str, **context: Any) -> Screen:
        opened.append(Screen(browser, router, **context))
        return opened[-1].open()

    yield at
    for screen in opened:
        screen.close()
