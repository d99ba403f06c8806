"""The page alone, with a router that tells what the test wants. What a real site does: the other files here."""

import re
import time

import pytest

from tests.browser.fake_stream import FakeRouter
from tests.waiting import until

DEADLINE = 20_000  # ms
expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect


@pytest.fixture
def router():
    fake = FakeRouter(12)
    yield fake
    fake.cut.set()
    fake.shutdown()
    fake.server_close()


@pytest.fixture
def page(browser):
    """What it complains of in its console fails the test."""
    context = browser.new_context()
    context.set_default_timeout(DEADLINE)
    expect.set_options(timeout=DEADLINE)
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    yield opened
    context.close()
    assert complaints == []


def connection(page):
    return page.get_by_role("status", name="Connection")


def open_page(page, router, **stored):
    for name, value in stored.items():
        page.add_init_script(f"sessionStorage.setItem('{name.replace('_', '-')}', '{value}')")
    page.goto(f"{router.url}/ui")
    expect(connection(page)).to_have_text("live")


def test_the_first_sentence_says_what_is_wrong_and_leads_there(page, router):
    open_page(page, router)
    expect(page.locator("#verdict")).to_have_text("All 12 instances healthy")
    router.become("node7-server", "ejected")
    expect(page.locator("#verdict")).to_have_text("1 of 12 instances needs a look: node7-server ejected")
    expect(page).to_have_title("1 of 12 instances needs a look · svc")
    row = page.locator("tr[data-instance]").first
    expect(row).to_have_attribute("data-instance", "node7-server")
    page.get_by_role("link", name="node7-server ejected").click()
    expect(row).to_be_focused()


def test_a_registry_that_is_away_is_told_with_the_hour_of_what_is_known(page, router):
    router.registry |= {"answers": False, "age": 3600.0}
    open_page(page, router)
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text(re.compile(r"does not answer; .* what it knew at \d\d:\d\d:\d\d$"))
    told = verdict.inner_text().split()[-1]
    shown = [time.strftime("%H:%M:%S", time.localtime(time.time() - ago)) for ago in range(3600, 3660)]
    assert told in shown


def test_errors_are_told_by_kind_those_of_now_apart_from_those_of_once(page, router):
    router.every = 0.1
    open_page(page, router)
    model = page.get_by_role("region", name="llama-3")
    expect(model.locator(".kinds")).to_have_text("errors in 5 minutes: 503 ×2")
    expect(model.locator(".kinds")).to_have_attribute("data-level", "bad")
    expect(model.locator(".ever")).to_have_text("since the router started: 503 ×4, timeout ×1")
    router.failing = {}
    expect(model.locator(".kinds")).to_have_text("no errors in 5 minutes")
    expect(model.locator(".kinds")).to_have_attribute("data-level", "")
    expect(page.get_by_role("region", name="qwen").locator(".ever")).to_be_empty()


def test_a_link_that_ends_is_told_and_taken_up_again(page, router):
    open_page(page, router)
    router.cut.set()
    expect(connection(page)).to_have_text("link lost, trying again")
    router.cut.clear()
    router.become("node1-server", "failed")
    expect(connection(page)).to_have_text("live")
    expect(page.locator("#verdict")).to_contain_text("node1-server failed")


def test_a_link_that_falls_silent_is_told(page, router):
    open_page(page, router)
    router.silent.set()
    expect(connection(page)).to_have_text("link lost, trying again")
    router.silent.clear()
    expect(connection(page)).to_have_text("live")


def test_a_key_is_asked_for_kept_in_the_tab_and_forgotten(page, router):
    router.key = "sk-right"
    page.goto(f"{router.url}/ui")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("You didn't provide an API key.")
    dialog.get_by_label("API key").fill("sk-right")
    dialog.get_by_role("button", name="Save").click()
    expect(connection(page)).to_have_text("live")
    assert "sk-right" not in page.content() + page.url
    expect(page.get_by_label("Equal curl")).to_contain_text('-H "Authorization: Bearer $ROUTER_API_KEY"')
    page.get_by_role("button", name="Keys").click()
    dialog.get_by_role("button", name="Forget").click()
    expect(connection(page)).to_have_text("an API key is needed")
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def test_draining_asks_first_and_says_what_the_registry_said(page, router):
    router.token = "right"
    open_page(page, router, operator_token="wrong")
    button = page.get_by_role("button", name="Drain node3-server", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Drain node3-server?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert router.operated == []
    button.click()
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text("This token may not drain")
    router.token = "wrong"
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator("tr[data-instance='node3-server'] [data-state='drained']")).to_be_visible()
    expect(page.get_by_role("button", name="Undrain node3-server")).to_be_focused()
    assert router.operated == ["drain node3-server"]


def test_a_prompt_is_answered_and_measured(page, router):
    open_page(page, router)
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("Hello, <b>world</b>")
    expect(form.get_by_role("button", name="Send")).to_be_visible()
    facts = form.get_by_label("Facts")
    expect(facts).to_contain_text("node1-server")
    expect(facts.locator("[data-fact=tokens]")).to_have_text("4")
    expect(facts.locator("[data-fact=first]")).to_have_text(re.compile(r"m?s$"))
    expect(facts.locator("[data-fact=speed]")).to_have_text(re.compile(r"^\d"))
    router.models = {}
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("503: No healthy services available for model 'qwen'")


def test_an_answer_is_stopped(page, router):
    open_page(page, router)
    router.pace = 60.0
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("Hello")
    form.get_by_role("button", name="Stop").click()
    expect(form.get_by_label("Answer")).to_contain_text("stopped")


def test_what_others_wrote_is_text(page, router):
    evil = "<img src=x onerror=alert(1)>"
    router.events.append(router.happened(9, "ejected", evil, evil))
    router.names.append(evil)
    router.words[evil], router.host_of[evil] = "failed", evil
    router.models[evil] = [evil]
    open_page(page, router)
    expect(page.locator("tr[data-instance]")).to_have_count(13)
    expect(page.get_by_role("list", name="Events")).to_contain_text(evil)
    expect(page.get_by_role("heading", name=evil)).to_be_visible()
    assert page.locator("img").count() == 0


def test_a_tick_touches_only_what_is_another(page, router):
    """Of twelve instances one does anything."""
    router.every = 0.2
    open_page(page, router)
    page.evaluate("""() => {
        window.touched = new Set();
        const rowOf = (node) => (node.parentElement ?? node).closest("tr[data-instance]")?.dataset.instance;
        new MutationObserver((all) => all.forEach(({ target }) => rowOf(target) && touched.add(rowOf(target))))
            .observe(document.getElementById("instances"), { subtree: true, childList: true, characterData: true });
    }""")
    router.busy = {"node2-server"}
    until(lambda: page.evaluate("touched.has('node2-server')"), DEADLINE / 1000)
    page.evaluate("touched.clear()")
    until(lambda: page.evaluate("touched.size"), DEADLINE / 1000)
    assert page.evaluate("[...touched]") == ["node2-server"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_axe_finds_nothing(browser, router, scheme, width):
    router.token = "t"
    router.words |= {"node1-server": "ejected", "node2-server": "starting", "node3-server": "drained"}
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(DEADLINE)
    open_page(page, router, operator_token="t")
    expect(page.locator("tr[data-instance]")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [found["id"] for found in axe().run(page).response["violations"]] == []
    page.get_by_role("button", name="Drain node1-server").click()
    assert [found["id"] for found in axe().run(page).response["violations"]] == []
    context.close()
