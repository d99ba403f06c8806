"""The verdict at the top of the page and in the tab: the worst problem first, also in a hidden tab."""

import re
import time

from tests.browser.alone import connection, expect, open_page, verdict


def test_the_verdict_names_the_problem_and_links_to_it(page, fake):
    open_page(page, fake)
    expect(page.locator("#verdict")).to_have_text("All 12 instances healthy")
    fake.become("node7-server", "ejected")
    expect(page.locator("#verdict")).to_have_text("1 of 12 instances is unhealthy: node7-server ejected")
    expect(page).to_have_title("1 of 12 instances is unhealthy · prod on ops1")
    row = page.locator("tr[data-instance]").first
    expect(row).to_have_attribute("data-instance", "node7-server")
    page.get_by_role("link", name="node7-server ejected").click()
    expect(row).to_be_focused()


def test_statements_about_models_link_to_cards_and_name_instances(page, fake):
    fake.every = 0.1
    fake.states["node1-server"] = "stopped"
    fake.fates = {"qwen": {"fate": "refused"}}
    fake.minute, fake.failed_at = {"requests": 20, "failed": 19}, {"node2-server": 16, "node4-server": 3}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        [
            "No healthy instance serves qwen: node1-server stopped by an operator",
            "llama-3: 19 of 20 requests failed in the last minute: node2-server 16 errors, node4-server 3 errors",
        ]
    )
    headline = page.locator("#verdict")
    headline.get_by_role("link", name="llama-3").click()
    expect(page.get_by_role("region", name="llama-3")).to_be_focused()
    headline.get_by_role("link", name="node4-server 3 errors").click()
    expect(page.locator("tr[data-instance='node4-server']")).to_be_focused()
    headline.get_by_role("link", name="qwen").click()
    expect(page.get_by_role("region", name="qwen")).to_be_focused()


def test_many_models_without_an_instance_share_one_statement(page, fake):
    fake.models = {f"m{at}": fake.names for at in range(9)}
    fake.states["node12-server"] = "failed"
    fake.fates = {name: {"fate": "refused"} for name in fake.models}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        ["No healthy instance serves m0, m1, m2, m3, m4 and 4 more: node12-server failed"]
    )


def test_an_instance_that_is_failing_is_unhealthy(page, fake):
    fake.states["node7-server"] = "failing"
    open_page(page, fake)
    expect(verdict(page)).to_have_text(["1 of 12 instances is unhealthy: node7-server failing"])
    expect(page.locator("tr[data-instance]").first).to_contain_text("most of its last answers are 500")


def test_keys_that_are_not_applied_yet_are_a_warning(page, fake):
    fake.keys_unapplied = True
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        ["API keys are configured, and not applied yet (svc apply): this router does not ask for them"]
    )
    expect(page.locator("#verdict p")).to_have_attribute("data-level", "warning")
    fake.keys_unapplied, fake.version = False, fake.version + 1
    expect(page.locator("#verdict")).to_have_text("All 12 instances healthy")


def test_a_registry_that_is_away_is_shown_with_the_age_of_the_table(page, fake):
    fake.registry |= {"answers": False, "age": 3600.0}
    open_page(page, fake)
    expect(verdict(page)).to_contain_text(re.compile(r"does not answer; .* what it knew at .*\d\d:\d\d:\d\d$"))
    shown_time = verdict(page).inner_text().split()[-1]
    expected = [time.strftime("%H:%M:%S", time.localtime(time.time() - ago)) for ago in range(3600, 3660)]
    assert shown_time in expected
    expect(page).to_have_title(re.compile("^The registry at http://localhost:18000 does not answer"))


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
    """An instance that a statement names already is in no second statement."""
    fake.states |= {"node2-server": "drained", "node3-server": "failed"}
    fake.fates = {"qwen": {"fate": "refused"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        [
            "No healthy instance serves qwen: node3-server failed",
            "1 of 12 instances is not accepting new requests: node2-server drained",
        ]
    )
    expect(page).to_have_title("No healthy instance serves qwen · prod on ops1")


def test_the_verdict_shows_the_availability_of_models(page, fake):
    fake.fates = {"qwen": {"fate": "tried"}, "llama-3": {"fate": "replaced", "by": "qwen"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(
        [
            "No healthy instance serves qwen; requests are sent to unhealthy ones",
            "llama-3 is served by its fallback qwen",
        ]
    )
    fake.fates = {"qwen": {"fate": "waits"}}
    fake.version += 1
    expect(verdict(page)).to_have_text(["Requests for qwen wait for an instance that is starting"])


def test_failed_requests_are_a_verdict_although_instances_are_healthy(page, fake):
    fake.every = 0.1
    open_page(page, fake)
    expect(verdict(page)).to_have_text(["All 12 instances healthy"])
    card = page.get_by_role("region", name="llama-3")
    expect(card).to_have_attribute("data-level", "good")
    fake.minute = {"requests": 20, "failed": 19}
    expect(verdict(page)).to_have_text(["llama-3: 19 of 20 requests failed in the last minute"])
    expect(card).to_have_attribute("data-level", "bad")
    expect(card).to_contain_text("19 of 20 requests failed in the last minute")
    expect(page.locator(".model").first).to_have_accessible_name("llama-3")
    expect(page).to_have_title(re.compile("^llama-3: 19 of 20"))
    fake.minute = {"requests": 20, "failed": 0}
    expect(verdict(page)).to_have_text(["All 12 instances healthy"])


def test_errors_of_requests_for_no_model_are_explained(page, fake):
    fake.every = 0.1
    open_page(page, fake)
    expect(page.locator("#others")).to_be_hidden()
    expect(page.locator("#refused")).to_be_hidden()
    fake.astray = {"503": 114}
    expect(page.locator("#others")).to_have_text("errors in 5 minutes, of requests for no model on this page: 503 ×114")


def test_what_clients_did_wrong_is_named_and_no_problem(page, fake):
    fake.every = 0.1
    fake.astray, fake.unknown = {"401": 12}, {"qwne": 2, "gema": 7}
    open_page(page, fake)
    expect(page.locator("#refused")).to_have_text(
        "refused in 5 minutes: gema: 7, no such model; qwne: 2, no such model; 401: 12, no valid API key"
    )
    expect(page.locator("#others")).to_be_hidden()
    expect(verdict(page)).to_have_text(["All 12 instances healthy"])


def test_a_hidden_tab_shows_the_problem_in_its_title(page, fake):
    """This simulates a tab in the background, which Playwright cannot make."""
    page.add_init_script("window.requestAnimationFrame = () => 0")
    open_page(page, fake)
    expect(page).to_have_title("All 12 instances healthy · prod on ops1")
    fake.become("node7-server", "failed")
    expect(page).to_have_title("1 of 12 instances is unhealthy · prod on ops1")
    fake.cut.set()
    expect(page).to_have_title(re.compile(r"^No link to the router since .*\d\d:\d\d:\d\d · prod on ops1$"))
    fake.cut.clear()
    expect(page).to_have_title("1 of 12 instances is unhealthy · prod on ops1")


def test_a_lost_link_is_the_headline_with_its_time_and_reason(page, fake):
    fake.cut.set()
    page.goto(f"{fake.url}/ui")
    expect(page.locator("#why")).to_have_text("The router is draining")
    expect(verdict(page)).to_have_text(["No link to the router"])
    fake.cut.clear()
    expect(connection(page)).to_have_text("live")
    expect(page.locator("#why")).to_be_hidden()
    fake.cut.set()
    lost = re.compile(r"^No link to the router since .*\d\d:\d\d:\d\d$")
    expect(verdict(page)).to_have_text([lost, "All 12 instances healthy"])


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
