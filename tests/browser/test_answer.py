"""The form to try a model: every part of an answer is shown as what it is."""

import re

import pytest

from tests.browser.alone import expect, open_page


def test_a_prompt_is_answered_and_measured(page, fake):
    open_page(page, fake)
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("Hello, <b>world</b>")
    expect(form.get_by_role("button", name="Send")).to_be_visible()
    facts = form.get_by_label("Facts")
    expect(facts).to_contain_text("node1-server")
    expect(facts.locator("[data-fact=tokens]")).to_have_text("4")
    expect(facts.locator("[data-fact=first]")).to_have_text(re.compile(r"m?s$"))
    expect(facts.locator("[data-fact=speed]")).to_have_text(re.compile(r"^\d"))
    fake.models = {}
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("503: No healthy services available for model 'qwen'")


def test_an_answer_is_stopped(page, fake):
    open_page(page, fake)
    fake.pace = 60.0
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer")).to_have_text("Hello")
    form.get_by_role("button", name="Stop").click()
    expect(form.get_by_label("Answer")).to_contain_text("stopped")


def said(delta: dict, **more: object) -> dict:
    return {"choices": [{"delta": delta, **more}]}


ENDS = [
    ([said({"content": "Half"})], ["Half", "The answer ended before it was complete."]),
    ([said({"content": "Cut"}, finish_reason="length")], ["Cut", "The answer ended at the limit of tokens."]),
    (
        [said({"tool_calls": [{"function": {"name": "f"}}]}, finish_reason="tool_calls")],
        ["The model calls a tool; this page does not run tools."],
    ),
    ([said({"content": "Hi"}, finish_reason="stop"), {"choices": None, "usage": {"completion_tokens": 9}}], ["Hi"]),
    ([said({"content": "Half"}), {"error": {"message": "the instance is gone"}}], ["Half", "the instance is gone"]),
]


@pytest.mark.parametrize(("script", "shown"), ENDS, ids=["broken off", "length", "tools", "no choices", "error"])
def test_the_end_of_an_answer_is_shown(page, fake, script, shown):
    fake.script = script
    open_page(page, fake)
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer").locator("> *")).to_have_text(shown)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_shown_apart_from_the_answer(page, fake, field):
    fake.script = [said({field: "Let me "}), said({field: "think."}), said({"content": "Hello!"}, finish_reason="stop")]
    open_page(page, fake)
    form = page.get_by_role("form", name="Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".thought")).to_have_text("Let me think.")
    expect(form.locator(".said")).to_have_text("Hello!")


def test_a_long_answer_does_not_block_the_page(page, fake):
    """Each layout of a long text is expensive, so there are few of them, however many words arrive."""
    words = 5000
    fake.script = [said({"content": f"word{at} " + "\n" * (at % 50 == 49)}) for at in range(words)]
    fake.script.append(said({}, finish_reason="stop"))
    open_page(page, fake)
    measured = page.context.new_cdp_session(page)
    measured.send("Performance.enable")

    def layouts() -> float:
        metrics = measured.send("Performance.getMetrics")["metrics"]
        return next(entry["value"] for entry in metrics if entry["name"] == "LayoutCount")
