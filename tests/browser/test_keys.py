"""A router that requires API keys: the page asks for one."""

import pytest

from tests.browser.screen import Screen
from tests.fork_server import run_svc
from tests.integration.router.routers import router, service, static
from tests.waiting import free_port, wait_until


@pytest.fixture
def keyed(tmp_path):
    """Yield a router that requires keys, and a valid key."""
    file = tmp_path / "keys.toml"
    secret = run_svc("keys", "add", "viewer", "--file", file)[0].strip()
    services = static(tmp_path / "static.json", [service("one", free_port(), "m")])
    with router("--static-services", services, "--keys-file", file) as running:
        yield running, secret


def test_the_page_asks_for_the_key_and_works_with_it(keyed, look):
    running, secret = keyed
    screen: Screen = look(running.url)
    dialog = screen.page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    assert "API key" in dialog.inner_text()
    assert screen.page.locator("tr[data-instance]").count() == 0, "nothing is shown without a key"

    screen.give(key="not-the-key", refused=True)
    wait_until(lambda: "Incorrect" in dialog.inner_text(), description="it to be asked for again")
    screen.give(key=secret)
    screen.live()
    wait_until(lambda: screen.row("one").is_visible(), description="the instance")
    assert secret not in screen.page.content()
    assert secret not in screen.page.url

    screen.page.reload()
    screen.live()
    assert not dialog.is_visible(), "a reload keeps it"
