"""The verdict at the top of the page and in the tab: the worst problem first, also in a hidden tab."""

import re
import time

from tests.browser.alone import connection, expect, open_page, verdict


def test_the_verdict_names_the_problem_and_links_to_it(page, fake):
    open_page(page, fake)
    expect(page.locator("#verdict")).to_have_text("All 12 instances healthy")
    fake.become("node7-server", "ejected")
    expect(page.locator("#verdict")).to_have_text("1 of 12 instances needs a look: node7-server ejected")
    expect(page).to_have_title("1 of 12 instances needs a look · svc")
    row = page.locator("tr[data-instance]").first
    expect(row).to_have_attribute("data-instance", "node7-server")
    page.get_by_role("link", name="node7-server ejected").click()
    expect(row).to_be_focused()


def test_a_registry_that_is_away_is_shown_with_the_age_of_the_table(page, fake):
    fake.registry |= {"answers": False, "age": 3600.0}
    open_page(page, fake)
    expect(verdict(page)).to_contain_text(re.compile(r"does not answer; .* what it knew at .*\d\d:\d\d:\d\d$"))
    shown_time = verdict(page).inner_text().split()[-1]
    expected = [time.strftime("%H:%M:%S", time.localtime(time.time() - ago)) for ago in range(3600, 3660)]
    assert shown_time in expected
    expect(page).to_have_title(re.compile("^The registry does not answer"))


def test_recent_errors_are_shown_apart_from_older_ones(page, fake):
    fake.every = 0.1
    open_page(page, fake)
    model = page.get_by_role("region", name="llama-3")
    expect(model.locator(".kinds")).to_have_text("errors in 5 minutes: 503 ×2")
    expect(model.locator(".kinds")).to_have_attribute("data-level", "bad")
    expect(model.locator(".ever")).to_have_text(re.compile(r"^since the router's start at .*\d: 503 ×4, timeout ×1$"))
    fake.failing = {}
    expect(model.locator(".kinds")).to_have_text("no errors in 5 minutes")
    expect(model.locator(".kinds")).to_have_attribute("data-level", "")
    expect(page.get_by_role("region", name="qwen").locator(".ever")).to_be_empty()


def test_the_worst_problem_comes_first(page, fake):
    fake.states["node1-server"] = "drained"
    fake.fates = {"qwen": {"fate": "refused"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        ["Nobody answers for qwen", "1 of 12 instances gets nothing new: node1-server drained"]
    )
    expect(page).to_have_title("Nobody answers for qwen · svc")


def test_the_verdict_shows_the_availability_of_models(page, fake):
    fake.fates = {"qwen": {"fate": "tried"}, "llama-3": {"fate": "replaced", "by": "qwen"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        ["All who have qwen are out; they are tried all the same", "qwen answers for llama-3"]
    )
    fake.fates = {"qwen": {"fate": "waits"}}
    fake.version += 1
    expect(verdict(page)).to_have_text(["Requests for qwen wait for an instance that starts"])


def test_failed_requests_are_a_verdict_although_instances_are_healthy(page, fake):
    fake.every = 0.1
    open_page(page, fake)
    expect(verdict(page)).to_have_text(["All 12 instances healthy"])
    fake.minute = {"requests": 20, "failed": 19}
    expect(verdict(page)).to_have_text(["llama-3: 19 of 20 requests failed in the last minute"])
    expect(page).to_have_title(re.compile("^llama-3: 19 of 20"))
    fake.minute = {"requests": 20, "failed": 0}
    expect(verdict(page)).to_have_text(["All 12 instances healthy"])


def test_errors_of_requests_for_unknown_models_are_explained(page, fake):
    fake.every = 0.1
    open_page(page, fake)
    expect(page.locator("#others")).to_be_hidden()
    fake.astray = {"503": 114}
    expect(page.locator("#others")).to_have_text("errors in 5 minutes, of requests for no model that is here: 503 ×114")


def test_a_hidden_tab_shows_the_problem_in_its_title(page, fake):
    """This simulates a tab in the background, which Playwright cannot make."""
    page.add_init_script("window.requestAnimationFrame = () => 0")
    open_page(page, fake)
    expect(page).to_have_title("All 12 instances healthy · svc")
    fake.become("node7-server", "failed")
    expect(page).to_have_title("1 of 12 instances needs a look · svc")
    fake.cut.set()
    expect(page).to_have_title("link lost, trying again · svc")
    fake.cut.clear()
    expect(page).to_have_title("1 of 12 instances needs a look · svc")


def test_a_refused_link_shows_its_reason_and_its_last_message(page, fake):
    fake.cut.set()
    page.goto(f"{fake.url}/ui")
    expect(page.locator("#why")).to_have_text("The router is draining; nothing was heard yet")
    expect(verdict(page)).to_have_text(["link lost, trying again"])
    fake.cut.clear()
    expect(connection(page)).to_have_text("live")
    expect(page.locator("#why")).to_be_hidden()
    fake.cut.set()
    expect(page.locator("#why")).to_have_text(re.compile(r"last heard at \d\d:\d\d:\d\d$"))


def test_the_focus_stays_on_a_name_while_the_sentence_changes(page, fake):
    fake.states["node7-server"] = "ejected"
    open_page(page, fake)
    link = page.locator("[data-leads='node7-server']")
    link.focus()
    fake.become("node8-server", "failed")
    expect(verdict(page)).to_contain_text("2 of 12 instances")
    expect(link).to_be_focused()


def test_another_version_of_the_router_shows_a_reload_link(page, fake):
    open_page(page, fake)
    fake.name = "9.9.9"
    fake.version += 1
    expect(verdict(page)).to_have_text(["All 12 instances healthy", "The router is 9.9.9 now; reload this page"])
