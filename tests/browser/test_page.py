"""The page with a fake router; the other files here have real sites."""

from threading import Event

import pytest

from tests.browser.alone import DEADLINE, connection, expect, open_page
from tests.browser.fake_stream import FakeRouter, gpus_of
from tests.waiting import wait_until


def test_a_link_that_ends_is_shown_and_restored(page, fake):
    open_page(page, fake)
    fake.cut.set()
    expect(connection(page)).to_have_text("link lost, trying again")
    fake.cut.clear()
    fake.become("node1-server", "failed")
    expect(connection(page)).to_have_text("live")
    expect(page.locator("#verdict")).to_contain_text("node1-server failed")


def test_a_silent_link_is_shown(page, fake):
    open_page(page, fake)
    fake.silent.set()
    expect(connection(page)).to_have_text("link lost, trying again")
    fake.silent.clear()
    expect(connection(page)).to_have_text("live")


def test_a_key_is_kept_in_the_tab_until_it_is_forgotten(page, fake):
    fake.key = "sk-right"
    page.goto(f"{fake.url}/ui")
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


def test_a_key_that_no_header_can_carry_is_refused_with_a_message(page, fake):
    open_page(page, fake)
    page.get_by_role("button", name="Keys").click()
    dialog = page.get_by_role("dialog", name="Keys")
    token = dialog.get_by_label("Operator token")
    expect(token).to_be_hidden()
    dialog.get_by_text("To drain instances").click()
    token.fill("to–ken")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_contain_text("The operator token has a character that no key can have")
    assert page.evaluate("sessionStorage.length") == 0


def test_the_effect_of_a_drain_is_updated_while_the_dialog_is_open(page, fake):
    fake.models = {"qwen": fake.names, "solo": ["node1-server", "node2-server"]}
    open_page(page, fake, operator_token="t")
    page.get_by_role("button", name="Drain node1-server", exact=True).click()
    what = page.locator("#action-what")
    expect(what).to_have_text("It accepts no new requests until it is undrained.")
    expect(page.locator("#action-do")).to_have_attribute("data-level", "")
    fake.become("node2-server", "failed")
    loss = what.locator("p[data-level=bad]")
    expect(loss).to_have_text("No other healthy instance serves solo: requests for it will fail.")
    expect(page.locator("#action-do")).to_have_attribute("data-level", "bad")
    red = "getComputedStyle(document.querySelector('#action-what p[data-level=bad]')).color"
    assert page.evaluate(red) == page.evaluate("getComputedStyle(document.getElementById('action-do')).backgroundColor")
    fake.names.remove("node1-server")
    fake.version += 1
    expect(what).to_have_text("It is not registered any more.")
    expect(page.locator("#action-do")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("table", name="Instances")).to_be_focused()


def test_a_fallback_is_shown_before_its_model_is_drained(page, fake):
    fake.models = {"qwen": fake.names[1:], "llama-3": ["node1-server"]}
    open_page(page, fake, operator_token="t")
    page.get_by_role("button", name="Drain node1-server", exact=True).click()
    expect(page.locator("#action-what")).to_contain_text("Requests for llama-3 go to its fallback qwen.")


def test_an_error_of_a_drain_is_shown_after_its_dialog_was_closed(page, fake):
    fake.token, fake.slow = "right", Event()
    open_page(page, fake, operator_token="wrong")
    page.get_by_role("button", name="Drain node1-server", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator("#action-do")).to_be_disabled()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Drain node2-server", exact=True).click()
    expect(page.locator("#action-do")).to_be_enabled()
    fake.slow.set()
    expect(page.get_by_role("alert")).to_have_text("Drain node1-server: This token may not drain")


def test_a_name_links_to_its_row(browser):
    """The row is below two hundred others on a phone, whose height the browser has only estimated."""
    crowd = FakeRouter(200)
    crowd.events.append(crowd.happened(9, "ejected", "node150-server"))
    crowd.events.append(crowd.happened(10, "unhealthy", "stranger"))
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(DEADLINE)
    open_page(page, crowd)
    events = page.get_by_role("list", name="Events")
    expect(events.get_by_role("button", name="stranger")).to_be_disabled()
    # By keyboard: while the rows above it are drawn for the first time, the button moves, so that a mouse may be
    # released beside it.
    events.get_by_role("button", name="node150-server").press("Enter")
    row = page.locator("tr[data-instance='node150-server']")
    expect(row).to_be_focused()
    bar = page.get_by_role("banner").bounding_box()

    def seen() -> bool:
        box = row.bounding_box()
        return bar["height"] <= box["y"] and box["y"] + box["height"] <= 844

    wait_until(seen, DEADLINE / 1000, description="the row to be in sight, below the bar")
    context.close()
    crowd.cut.set()
    crowd.shutdown()
    crowd.server_close()


def test_a_removed_model_leaves_nothing_on_the_page(page, fake):
    open_page(page, fake)
    fake.models["guest"] = fake.names[:1]
    measured = page.context.new_cdp_session(page)
    guest = page.get_by_role("region", name="guest")

    def comes_and_goes(times: int) -> int:
        for _ in range(times):
            fake.models["guest"] = fake.names[:1]
            fake.version += 1
            expect(guest).to_be_visible()
            del fake.models["guest"]
            fake.version += 1
            expect(guest).to_be_hidden()
        measured.send("HeapProfiler.collectGarbage")
        return measured.send("Memory.getDOMCounters")["jsEventListeners"]

    fake.every = 0.05
    assert comes_and_goes(12) <= comes_and_goes(2) + 10


def test_plots_continue_when_the_routers_clock_is_set_back(page, fake):
    open_page(page, fake)
    times = page.evaluate("""async () => {
        const { Site } = await import("/ui/site.js");
        const site = new Site(), numbers = { requests: 1, errors: 0, first_token: null, tokens: 1 };
        const tick = (time) => site.take("tick", { time, instances: {}, models: { m: numbers } });
        [1000, 1001, 1001, 400, 401].forEach(tick);
        return site.history.get("m").time;
    }""")
    assert times == [400, 401]


def test_a_drain_asks_for_confirmation_and_shows_the_registrys_error(page, fake):
    fake.token = "right"
    open_page(page, fake, operator_token="wrong")
    button = page.get_by_role("button", name="Drain node3-server", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Drain node3-server?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert fake.operated == []
    button.click()
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text("This token may not drain")
    fake.token = "wrong"
    dialog.get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator("tr[data-instance='node3-server'] [data-state='drained']")).to_be_visible()
    expect(page.get_by_role("button", name="Undrain node3-server")).to_be_focused()
    assert fake.operated == ["drain node3-server"]


def test_text_of_others_is_never_html(page, fake):
    evil = "<img src=x onerror=alert(1)>"
    fake.events.append(fake.happened(9, "ejected", evil, evil))
    fake.names.append(evil)
    fake.states[evil], fake.host_of[evil] = "failed", evil
    fake.models[evil] = [evil]
    open_page(page, fake)
    expect(page.locator("tr[data-instance]")).to_have_count(13)
    expect(page.get_by_role("list", name="Events")).to_contain_text(evil)
    expect(page.get_by_role("heading", name=evil)).to_be_visible()
    assert page.locator("img").count() == 0


def test_a_tick_touches_only_changed_cells(page, fake):
    """One of twelve instances is busy."""
    fake.every = 0.2
    open_page(page, fake)
    page.evaluate("""() => {
        window.touched = new Set();
        const rowOf = (node) => (node.parentElement ?? node).closest("tr[data-instance]")?.dataset.instance;
        new MutationObserver((all) => all.forEach(({ target }) => rowOf(target) && touched.add(rowOf(target))))
            .observe(document.getElementById("instances"), { subtree: true, childList: true, characterData: true });
    }""")
    fake.busy = {"node2-server"}
    wait_until(lambda: page.evaluate("touched.has('node2-server')"), DEADLINE / 1000)
    page.evaluate("touched.clear()")
    wait_until(lambda: page.evaluate("touched.size"), DEADLINE / 1000)
    assert page.evaluate("[...touched]") == ["node2-server"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_axe_finds_nothing(browser, fake, scheme, width):
    fake.token = "t"
    fake.states |= {"node1-server": "ejected", "node2-server": "starting", "node3-server": "drained"}
    fake.states["node4-server"], fake.on_demand = "asleep", {"node4-server", "node5-server"}
    fake.gpus = {host: gpus_of(fake, host) for host in ("gpu1", "gpu2")}
    fake.gpus["gpu1"]["gpus"][1]["errors"] = 1
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(DEADLINE)
    open_page(page, fake, operator_token="t")
    expect(page.locator("tr[data-instance]")).to_have_count(12)
    expect(page.get_by_role("meter")).to_have_count(16)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [found["id"] for found in axe().run(page).response["violations"]] == []
    page.get_by_role("button", name="Drain node1-server").click()
    assert [found["id"] for found in axe().run(page).response["violations"]] == []
    context.close()
