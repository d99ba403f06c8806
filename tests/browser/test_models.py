"""The cards of models and the rows of instances: the worst first, and one line for a model that is healthy and idle."""

import re

import pytest

from tests.browser.alone import expect, open_page, verdict


@pytest.fixture
def many(fake):
    """Yield a router with eight models, of which m2 and m10 get requests."""
    fake.every = 0.1
    fake.models = {f"m{at}": [fake.names[at % 12]] for at in range(1, 11) if at not in (4, 5)}
    fake.idle = set(fake.models) - {"m2", "m10"}
    return fake


def cards(page) -> list[str]:
    return page.locator(".model h2").all_inner_texts()


def test_many_healthy_and_idle_models_have_one_line_each(page, many):
    open_page(page, many)
    idle = page.get_by_role("region", name="Healthy and idle")
    expect(idle.get_by_role("listitem")).to_have_text(
        [re.compile(f"^m{at}.*1 of 1 healthy") for at in (1, 3, 6, 7, 8, 9)]
    )
    assert cards(page) == ["m2", "m10"]
    many.become(many.models["m7"][0], "failed")
    expect(idle.get_by_role("listitem")).to_have_count(5)
    assert cards(page) == ["m7", "m2", "m10"], "the worst first, then by name"
    many.idle.remove("m9")
    expect(idle.get_by_role("listitem")).to_have_count(4)
    assert cards(page) == ["m7", "m2", "m9", "m10"]


def test_a_card_is_red_only_if_requests_fail(page, fake):
    fake.models = {"lost": ["node1-server"], "soon": ["node2-server"], "well": fake.names[2:]}
    fake.states |= {"node1-server": "failed", "node2-server": "starting"}
    fake.fates = {"lost": {"fate": "refused"}, "soon": {"fate": "waits"}}
    open_page(page, fake)
    expect(page.locator(".model")).to_have_count(3)
    levels = [card.get_attribute("data-level") for card in page.locator(".model").all()]
    assert (cards(page), levels) == (["lost", "soon", "well"], ["bad", "warning", "good"])
    expect(page.get_by_role("region", name="lost")).to_contain_text("no healthy instance: requests get 503")
    expect(page.get_by_role("region", name="soon")).to_contain_text("requests wait for an instance that is starting")


def test_six_models_have_a_card_each(page, fake):
    fake.models = {f"m{at}": [fake.names[at]] for at in range(6)}
    fake.idle = set(fake.models)
    open_page(page, fake)
    expect(page.locator(".model")).to_have_count(6)
    expect(page.locator("#idle")).to_be_hidden()


def test_instances_that_are_not_healthy_come_before_all_others(page, fake):
    fake.states |= {"node12-server": "ejected", "node2-server": "drained", "node9-server": "failed"}
    open_page(page, fake)
    rows = page.locator("tr[data-instance]")
    expect(rows).to_have_count(12)
    names = [row.get_attribute("data-instance") for row in rows.all()]
    assert names[:5] == ["node9-server", "node12-server", "node2-server", "node1-server", "node3-server"]
    expect(page.locator("tr.group").first).to_have_text(re.compile("not healthy.*1 failed, 1 ejected, 1 drained"))


def test_a_stopped_instance_shows_the_command_that_starts_it(page, fake):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fake.states["node3-server"] = "stopped"
    open_page(page, fake)
    row = page.locator("tr[data-instance='node3-server']")
    expect(row).to_contain_text("stopped by an operator")
    expect(row.locator("code")).to_have_text("supervisorctl start node3:server")
    expect(row.locator(".cure")).to_contain_text("on gpu1:")
    row.get_by_role("button", name="Copy supervisorctl").click()
    expect(row.get_by_role("button")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "supervisorctl start node3:server"


def test_the_newest_events_are_shown_until_all_are_wanted(page, fake):
    fake.events = [fake.happened(at, "registered", fake.names[at % 12]) for at in range(1, 31)]
    open_page(page, fake)
    events = page.get_by_role("list", name="Events").get_by_role("listitem")
    expect(events).to_have_count(10)
    page.get_by_role("button", name="Show all 30").click()
    expect(events).to_have_count(30)
    page.get_by_role("button", name="Show the newest 10").click()
    expect(events).to_have_count(10)


def test_plots_show_their_scale_and_their_span(page, fake):
    open_page(page, fake)
    plots = page.get_by_role("region", name="qwen").get_by_role("figure")
    expect(plots.locator(".scale")).to_have_text(["0 to 20", "0 to 50 ms", "0 to 1,000"])
    expect(plots.first.locator(".span")).to_have_text("5 min agonow")


def test_scales_end_at_round_numbers(page, fake):
    open_page(page, fake)
    ends = page.evaluate("""async () => {
        const { ceiling } = await import("/ui/figures.js");
        return [0, 0.03, 1, 1.1, 4.9, 7, 10, 99, 410].map(ceiling);
    }""")
    assert ends == [1, pytest.approx(0.05), 1, 2, 5, 10, 10, 100, 500]


def test_an_instance_that_is_asleep_is_no_problem(page, fake):
    fake.models["phi"] = ["node3-server"]
    fake.states |= {"node3-server": "asleep", "node4-server": "asleep"}
    fake.on_demand = {"node3-server", "node4-server"}
    fake.fates = {"phi": {"fate": "asleep", "reason": "gpu1: needs 38 GB, 12 GB free"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(["10 instances healthy, 2 asleep: a request wakes them"])
    expect(page.locator("html")).to_have_attribute("data-verdict", "good")
    card = page.get_by_role("region", name="phi")
    expect(card).to_contain_text("asleep")
    expect(card).to_contain_text("requests wait until an instance is awake (gpu1: needs 38 GB, 12 GB free)")
    expect(page.get_by_role("region", name="qwen")).to_contain_text("5 of 6 healthy, 1 asleep")
    assert [page.locator(".model").nth(at).get_attribute("data-level") for at in range(3)] == ["good", "good", "info"]
    row = page.locator("tr[data-instance='node3-server']")
    expect(row).to_contain_text("a request for one of its models wakes it, in about 38 s")
    expect(page.locator("tr.group").first).to_have_text(re.compile("gpu1.*6 healthy, 2 asleep"))


def test_a_model_that_cannot_be_woken_is_a_problem(page, fake):
    fake.models["phi"], fake.states["node3-server"] = ["node3-server"], "asleep"
    fake.fates = {"phi": {"fate": "refused", "reason": "gpu1: needs 38 GB, has 24 GB"}}
    open_page(page, fake)
    expect(verdict(page)).to_have_text(["No healthy instance serves phi: node3-server asleep"])
    card = page.get_by_role("region", name="phi")
    expect(card).to_have_attribute("data-level", "bad")
    expect(card).to_contain_text("requests get 503 (gpu1: needs 38 GB, has 24 GB)")


def test_an_operator_wakes_an_instance_and_puts_it_to_sleep(page, fake):
    fake.token, fake.every, fake.on_demand = "t", 0.1, {"node3-server"}
    open_page(page, fake, operator_token="t")
    expect(page.locator("tr[data-instance='node4-server'] button:visible")).to_have_text(["Drain"])
    page.get_by_role("button", name="Put node3-server to sleep").click()
    dialog = page.get_by_role("dialog", name="Put node3-server to sleep?")
    expect(dialog).to_contain_text("It finishes its 2 requests; then it gives its GPU memory back.")
    expect(dialog).to_contain_text("A request for qwen wakes it again, which takes about 38 s.")
    dialog.get_by_role("button", name="Sleep", exact=True).click()
    wake = page.get_by_role("button", name="Wake node3-server")
    expect(wake).to_be_focused()
    wake.click()
    dialog = page.get_by_role("dialog", name="Wake node3-server?")
    expect(dialog).to_contain_text("It loads its model, which takes about 38 s.There is room for it.")
    dialog.get_by_role("button", name="Wake", exact=True).click()
    expect(page.locator("tr[data-instance='node3-server'] [data-state='healthy']")).to_be_visible()
    assert fake.operated == ["sleep node3-server", "wake node3-server"]


@pytest.mark.parametrize(("possible", "level"), [(True, "warning"), (False, "bad")])
def test_the_dialog_to_wake_shows_what_holds_the_memory(page, fake, possible, level):
    fake.states["node3-server"], fake.on_demand = "asleep", {"node3-server"}
    fake.offer = {"possible": possible, "now": False, "reason": "needs 38 GB on 1 GPU; gpu1 GPU 0 has 12 GB free"}
    open_page(page, fake, operator_token="t")
    page.get_by_role("button", name="Wake node3-server").click()
    effect = page.locator(f"#action-what [data-level='{level}']").filter(has_text="needs 38 GB on 1 GPU")
    expect(effect).to_be_visible()


def test_a_drain_says_that_requests_wait_for_an_instance_that_is_asleep(page, fake):
    fake.models["phi"] = ["node1-server", "node2-server"]
    fake.states["node2-server"] = "asleep"
    open_page(page, fake, operator_token="t")
    page.get_by_role("button", name="Drain node1-server").click()
    expect(page.locator("#action-what")).to_contain_text(
        "Requests for phi wait until another of its instances is awake."
    )
