"""The page with a fake router: opening it, and waiting for what it shows."""

import pytest

DEADLINE = 20_000  # ms
expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect


def connection(page):
    return page.get_by_role("status", name="Connection")


def verdict(page):
    """Return its lines, the worst first."""
    return page.locator("#verdict p")


def open_page(page, fake, **stored):
    for name, value in stored.items():
        page.add_init_script(f"sessionStorage.setItem('{name.replace('_', '-')}', '{value}')")
    page.goto(f"{fake.url}/ui")
    expect(connection(page)).to_have_text("live")
