"""The page with a whole site: what happens is shown within two seconds, without a reload.

Two seconds count from what happened, or, where the router learns of it later by its own rules (checks, trials), from
the moment when the router's own list has it.
"""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.browser.fleet import DEMO, MOCKS, REAL, SITE_NAME, TOKEN
from tests.e2e.sites import http
from tests.e2e.traffic import Traffic
from tests.waiting import wait_until

SOON = 2.0  # seconds
ALPHA, BETA = sorted(MOCKS)
NOTE_LOSS = """
window.lost = 0;
new MutationObserver(() => { if (document.querySelector('[aria-label=Connection]').innerText !== 'live') lost += 1; })
  .observe(document.querySelector('[aria-label=Connection]'), {subtree: true, childList: true, characterData: true});
"""


@pytest.fixture
def screen(whole, look):
    """Yield the page, live and with every instance healthy, as each test leaves it."""
    shown = look(whole.router)
    shown.live()
    wait_until(
        lambda: all(shown.state(name) == "healthy" for name in MOCKS), timeout=30, description="all to be shown healthy"
    )
    return shown


def test_a_killed_instance_shows_its_restart_and_its_return(whole, screen):
    first = whole.pid("alpha:server")
    with Traffic(whole.router, DEMO, max_tokens=2):
        wait_until(lambda: float(screen.cell(ALPHA, "requests") or 0) > 0, description="its requests to be counted")
        killed = time.time()
        os.kill(first, signal.SIGKILL)
        gone = screen.state_shown_at(ALPHA, lambda state: state != "healthy", since=killed)
        assert gone - killed < SOON
        wait_until(
            lambda: whole.pid("alpha:server") not in (0, first),
            timeout=30,
            description="it to be started",
            interval=0.02,
        )
        started = time.time()
        assert screen.event_shown_at("alpha", "restarted", since=killed) - started < SOON
        wait_until(lambda: ALPHA in whole.routed(), timeout=30, description="the router to take it back", interval=0.02)
        back = time.time()
        assert screen.state_shown_at(ALPHA, lambda state: state == "healthy", since=gone) - back < SOON
    wait_until(lambda: screen.cell(ALPHA, "restarts") == "1", description="the restart to be counted")
    assert screen.state(BETA) == "healthy"
    assert screen.loads == 1, "no reload"


def test_an_ejection_and_its_end_are_shown(whole, screen):
    begun = time.time()
    whole.behave(ALPHA, fail_status=502)
    with Traffic(whole.router, DEMO, max_tokens=2):
        wait_until(lambda: whole.look(ALPHA)["ejected"], description="the router to eject it", interval=0.02)
        known = time.time()
        assert screen.state_shown_at(ALPHA, lambda state: state == "ejected", since=begun) - known < SOON
        assert screen.event_shown_at("alpha", "ejected", since=begun) - known < SOON
        whole.behave(ALPHA, fail_status=None)
        wait_until(
            lambda: not whole.look(ALPHA)["ejected"], timeout=60, description="a trial to go well", interval=0.02
        )
        back = time.time()
        assert screen.state_shown_at(ALPHA, lambda state: state == "healthy", since=known, timeout=30) - back < SOON
        assert screen.event_shown_at("alpha", "readmitted", since=known) - back < SOON
    assert int(screen.cell(ALPHA, "ejections")) >= 1
    assert screen.loads == 1, "no reload"


def test_the_page_names_its_site_and_the_models_that_clients_misspell(whole, screen):
    place = f"{SITE_NAME} on {socket.gethostname()}"
    assert screen.page.locator("h1").inner_text().startswith(place)
    assert screen.page.title().endswith(f" · {place}")
    http.post(f"{whole.router}/v1/chat/completions", json={"model": "gema", "messages": []}, timeout=10)
    refused = screen.page.locator("#refused")
    wait_until(lambda: "gema: 1, no such model" in refused.inner_text(), description="the unknown name to be shown")


def test_the_command_beside_a_stopped_instance_starts_it(whole, screen):
    whole.run("supervisorctl", "stop", "alpha:server")
    wait_until(lambda: screen.state(ALPHA) == "stopped", timeout=20, description="it to be shown as stopped")
    command = screen.row(ALPHA).locator("code").inner_text()
    assert command == "supervisorctl start alpha:server"
    whole.run(*command.split())
    wait_until(lambda: screen.state(ALPHA) == "healthy", timeout=40, description="it to be back")


def test_without_the_operators_token_nothing_can_be_drained(screen):
    assert screen.page.get_by_role("button", name=re.compile("^(Drain|Undrain)")).count() == 0


def test_a_wrong_token_is_refused_with_a_message(whole, screen):
    screen.give(operator="a-guess")
    screen.button(f"Drain {ALPHA}").click()
    asked = screen.page.get_by_role("dialog", name=f"Drain {ALPHA}?")
    asked.get_by_role("button", name="Drain").click()
    wait_until(lambda: "token" in asked.get_by_role("alert").inner_text(), description="why it was refused")
    asked.get_by_role("button", name="Cancel").click()
    assert not whole.service(ALPHA)["drained"]


def test_an_instance_is_drained_after_a_confirmation_and_undrained(whole, screen):
    screen.give(operator=TOKEN)
    screen.button(f"Drain {ALPHA}").click()
    asked = screen.page.get_by_role("dialog", name=f"Drain {ALPHA}?")
    asked.get_by_role("button", name="Cancel").click()
    asked.wait_for(state="hidden")
    assert not whole.service(ALPHA)["drained"]

    screen.button(f"Drain {ALPHA}").click()
    clicked = time.time()
    asked.get_by_role("button", name="Drain").click()
    assert screen.state_shown_at(ALPHA, lambda state: state == "drained", since=clicked) - clicked < SOON
    assert screen.event_shown_at("alpha", "drained", since=clicked) - clicked < SOON
    assert ALPHA not in whole.routed()

    screen.button(f"Undrain {ALPHA}").click()
    clicked = time.time()
    screen.page.get_by_role("dialog", name=f"Undrain {ALPHA}?").get_by_role("button", name="Undrain").click()
    assert screen.state_shown_at(ALPHA, lambda state: state == "healthy", since=clicked) - clicked < SOON
    assert whole.routed() >= MOCKS


def test_an_instance_is_drained_by_keyboard_alone(whole, screen):
    screen.give(operator=TOKEN)
    keyboard = screen.page.keyboard
    _tab_to(screen, f"Drain {BETA}")
    keyboard.press("Enter")
    screen.page.get_by_role("dialog", name=f"Drain {BETA}?").wait_for()
    assert _focused(screen) == "Cancel", "the harmless one is met first"
    _tab_to(screen, "Drain", most=4)
    keyboard.press("Enter")
    wait_until(lambda: screen.state(BETA) == "drained", description="it to be drained")
    wait_until(lambda: _focused(screen) == f"Undrain {BETA}", description="the focus to be back where it was")
    keyboard.press("Enter")
    _tab_to(screen, "Undrain", most=4)
    keyboard.press("Enter")
    wait_until(lambda: screen.state(BETA) == "healthy", description="it to be back")


def test_an_answer_of_a_real_model_streams_on_the_page(screen):
    form = screen.page.get_by_role("form", name="Try it")
    form.get_by_label("Model").select_option(REAL)
    form.get_by_label("Prompt").fill("Explain in great detail how a computer works.")  # hundreds of tokens on any CPU
    form.get_by_label("Stream").check()
    form.get_by_role("button", name="Send").click()
    answer, facts = form.get_by_label("Answer"), form.get_by_label("Facts")
    lengths = set()

    def grown() -> bool:
        lengths.add(len(answer.inner_text()))
        return len(lengths - {0}) >= 3

    wait_until(grown, timeout=60, description="the answer to grow", interval=0.02)
    assert form.get_by_role("button", name="Stop").is_visible(), "it grew before it ended"
    wait_until(lambda: "gemma-server" in facts.inner_text(), description="who answers")
    begun = answer.inner_text()
    form.get_by_role("button", name="Stop").click()
    form.get_by_role("button", name="Send").wait_for()
    assert answer.inner_text().startswith(begun[:20])
    assert re.search(r"first token\s+[\d.]+ m?s", facts.inner_text()), facts.inner_text()
    assert re.search(r"tokens a second\s+[\d.]+", facts.inner_text()), facts.inner_text()
    assert REAL in form.get_by_label("Equal curl").inner_text()


def test_the_equivalent_curl_gets_the_same_answer(whole, screen):
    form = screen.page.get_by_role("form", name="Try it")
    form.get_by_label("Model").select_option(DEMO)
    form.get_by_label("Prompt").fill('It\'s "quoted", $HOME & `so on`\n2nd line')
    form.get_by_label("Stream").uncheck()
    form.get_by_role("button", name="Send").click()
    wait_until(lambda: "2nd line" in form.get_by_label("Answer").inner_text(), timeout=20, description="the answer")
    out, _ = whole.run("/bin/sh", "-ec", form.get_by_label("Equal curl").inner_text())
    assert 'It\'s \\"quoted\\", $HOME & `so on`\\n2nd line' in out


def test_a_lost_link_is_shown_and_restored(whole, screen):
    workers = _workers(whole)
    lost = time.time()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: "link lost, trying again" in screen.link(), timeout=30, description="the link to be lost")
        silent = time.time() - lost
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    assert silent < 10, "a router that hangs closes nothing: only its silence tells"
    found = time.time()
    screen.live()
    assert time.time() - found < 8
    assert screen.loads == 1, "no reload"


def test_a_page_that_returns_shows_what_happened_meanwhile(whole, screen):
    screen.context.set_offline(True)
    wait_until(lambda: "link lost" in screen.link(), timeout=15, description="the link to be lost")
    since = time.time()
    whole.svc("drain", "alpha")
    screen.context.set_offline(False)
    screen.live()
    screen.event_shown_at("alpha", "drained", since=since)
    screen.state_shown_at(ALPHA, lambda state: state == "drained", since=since)  # the table may come after the events
    whole.svc("undrain", "alpha")
    wait_until(lambda: screen.state(ALPHA) == "healthy", description="it to be back")


def test_the_page_reconnects_to_a_replaced_router(whole, screen):
    before = _workers(whole)
    screen.page.evaluate(NOTE_LOSS)
    whole.run("supervisorctl", "signal", "HUP", "router")
    wait_until(lambda: not before & _workers(whole), timeout=40, description="the old worker to be gone")
    screen.live()
    wait_until(lambda: screen.page.evaluate("lost") > 0, description="the link to have been lost and found")
    assert screen.loads == 1, "no reload"


def _focused(screen) -> str:
    return screen.page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent.trim()")


def _tab_to(screen, name: str, most: int = 60) -> None:
    for _ in range(most):
        if _focused(screen) == name:
            return
        screen.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name!r}")


def _workers(whole) -> set[int]:
    """Return the router's worker processes."""
    router = whole.pid("router")
    return set(map(int, Path(f"/proc/{router}/task/{router}/children").read_text().split()))
