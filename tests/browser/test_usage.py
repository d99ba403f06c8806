"""The section of the page that shows operators who uses what."""

from tests.browser.fake_stream import FakeRouter
from tests.waiting import wait_until

COUNTS = {"requests": 3, "failed": 1, "prompt": 12_000, "completion": 900}


def test_operators_see_who_uses_what_now_and_today(fake: FakeRouter, look):
    fake.token = "operators-token"
    fake.usage = {
        "rows": [{"key": "batch", "user": "", **COUNTS, "prompt": 50_000}, {"key": "chat", "user": "<b>eve", **COUNTS}],
        "recent": [{"key": "chat", "user": "<b>eve", "requests": 1, "failed": 0, "prompt": 100, "completion": 20}],
        "problem": "",
    }
    screen = look(fake.url)
    section = screen.page.locator("#usage")
    screen.live()
    assert not section.is_visible(), "without the operator's token, the router refuses"
    screen.give(operator=fake.token)
    wait_until(section.is_visible, description="the section")
    rows = [row.split() for row in section.locator("tbody tr").all_inner_texts()]
    assert rows == [["chat", "<b>eve", "120", "12K", "900", "3", "1"], ["batch", "50K", "900", "3", "1"]]
    assert not fake.operated
