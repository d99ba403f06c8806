"""The layout at the widths of a phone, a tablet and two desktops."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.alone import DEADLINE, expect, open_page
from tests.browser.fake_stream import FakeRouter

LONG = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8-with-a-long-name"
SIZES = [(390, 844), (820, 1180), (1440, 900), (1920, 1080)]
LONG_INSTANCE = "an-instance-with-a-very-long-name-of-its-own-for-qwen3-coder-server"
HEADINGS = {"Models": "#models", "Instances": "#instances-head", "Events": "#events-head", "Try it": "#tryit-head"}
# The elements that scroll by themselves: only the page does, and a text field if its text is long.
SCROLLERS = """
[...document.querySelectorAll("body *")].filter((node) => node.tagName !== "TEXTAREA")
  .filter((node) => ["auto", "scroll"].includes(getComputedStyle(node).overflowY) && node.checkVisibility())
  .map((node) => node.id || node.className || node.tagName)
"""
# Where each line of a row's numbers begins and ends.
EDGES = """
(row) => {
  const lines = new Map();
  const others = ["act", "meaning", "host", "state"];
  for (const cell of row.querySelectorAll("td")) {
    if (others.includes(cell.dataset.cell)) continue;
    const { left, right, top } = cell.getBoundingClientRect();
    if (!lines.has(top)) lines.set(top, []);
    lines.get(top).push([left, right]);
  }
  return [...lines.values()].map((cells) => [Math.round(cells[0][0]), Math.round(cells.at(-1)[1])]);
}
"""


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: str(size[0]))
def shown(browser, request) -> Iterator[Any]:
    """Yield a page of this size with a long name of a model, and with problems; only the last test changes it."""
    width, height = request.param
    fake = FakeRouter(12)
    fake.models[LONG] = fake.names[:3]
    fake.states |= {"node1-server": "ejected", "node2-server": "stopped", "node3-server": "drained"}
    fake.fates = {LONG: {"fate": "refused"}}
    fake.place = {"name": "production cluster Berlin-Adlershof", "host": "control-host-01.cluster.example.org"}
    fake.events.append(fake.happened(8, "ejected", LONG_INSTANCE, "connection refused"))
    fake.events += [fake.happened(at, "ejected", "node1-server", "connection refused") for at in range(9, 40)]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(DEADLINE)
    expect.set_options(timeout=DEADLINE)
    open_page(page, fake)
    expect(page.locator("tr[data-instance]")).to_have_count(12)
    yield page
    context.close()
    fake.end()


def test_the_layout_holds_at_each_width(shown):
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off at the side"
    assert shown.evaluate(SCROLLERS) == [], "one scroll"
    for link, target in (
        ("Models", "#models"),
        ("Instances", "#instances"),
        ("Events", "#events-head"),
        ("Try it", "#tryit-head"),
    ):
        shown.get_by_role("navigation").get_by_role("link", name=link, exact=True).click()
        bar = shown.get_by_role("banner").bounding_box()
        heading = shown.locator(target).bounding_box()
        assert heading["y"] >= bar["y"] + bar["height"] or heading["y"] + heading["height"] <= bar["y"], link
    for state in shown.locator(".able:visible").all():
        mark, words = (state.locator("span").nth(at).bounding_box() for at in (0, 1))
        assert abs((mark["y"] + mark["height"] / 2) - (words["y"] + words["height"] / 2)) < 5, "on one line"
        assert 0 < words["x"] - mark["x"] - mark["width"] < 12, "the mark stands at its text"


def test_long_names_of_site_and_instance_leave_everything_in_line(shown):
    for link in shown.get_by_role("navigation").get_by_role("link").all():
        assert link.bounding_box()["height"] < 30, "each link is on one line"
    assert shown.locator(".bar").bounding_box()["height"] < 120
    shown.get_by_role("button", name="Show all").click()
    event = shown.get_by_role("listitem").filter(has_text=LONG_INSTANCE)
    time, name = (event.locator(part).bounding_box() for part in ("time", "button"))
    assert abs(time["y"] - name["y"]) < 8, "the time is at the first line of the name"


def test_rows_of_cards_are_even_without_an_operator_token(shown):
    assert shown.evaluate("sessionStorage.length") == 0
    if shown.viewport_size["width"] > 900:
        lines = shown.evaluate(
            "[...document.querySelectorAll('tr[data-instance]')].map((row) => row.getBoundingClientRect().width)"
        )
        assert len(set(lines)) == 1
        return
    edges = shown.locator("tr[data-instance]").first.evaluate(EDGES)
    assert len({tuple(edge) for edge in edges}) == 1, "all lines of numbers begin and end at the same place"


def test_the_button_to_drain_is_inside_its_row(shown):
    shown.evaluate("sessionStorage.setItem('operator-token', 'x')")
    shown.reload()
    row = shown.locator("tr[data-instance='node3-server']")
    box, button = row.bounding_box(), row.get_by_role("button", name="Undrain").bounding_box()
    assert box["x"] < button["x"]
    assert button["x"] + button["width"] <= box["x"] + box["width"]


def test_the_columns_of_an_empty_site_begin_at_the_same_height(page, fake):
    fake.models, fake.names, fake.events = {}, [], []
    page.set_viewport_size({"width": 1440, "height": 900})
    open_page(page, fake)
    expect(page.locator("#none")).to_be_visible()
    instances, events = (page.locator(f"section[aria-labelledby={part}-head]") for part in ("instances", "events"))
    assert instances.bounding_box()["y"] == events.bounding_box()["y"]
