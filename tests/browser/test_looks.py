"""The look of the page, light and dark, on a phone and a desktop: accessibility by axe, and the documents' screenshots.

With SVC_SCREENSHOTS=1 the pictures are written to docs/images.
"""

import os
import signal
import time
from itertools import cycle

import pytest

from tests.browser.fleet import DEMO, MOCKS, REAL, TOKEN, Fleet
from tests.browser.screen import DESK, PHONE
from tests.e2e.sites import ROOT
from tests.e2e.traffic import Traffic, read_stream
from tests.waiting import wait_until

REAL_MODEL = "SVC_SCREENSHOTS" in os.environ  # for the fixture `whole`; only the pictures show an answer
IMAGES = ROOT / "docs" / "images"
LARGEST = 250_000  # bytes of a picture
LOOKS = [(scheme, kind) for scheme in ("light", "dark") for kind in ("phone", "desk")]
PAST = 60  # seconds of load before a picture, so that the plots have something to show
# Back at the top, and that painted: what is far off the screen is not.
TOP = "scrollTo(0, 0); new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
RULES = {"resultTypes": ["violations"]}


@pytest.fixture
def screen(whole, look, request):
    scheme, kind = request.param
    shown = look(whole.router, color_scheme=scheme, viewport=PHONE if kind == "phone" else DESK)
    shown.live()
    wait_until(
        lambda: all(shown.state(name) == "healthy" for name in MOCKS), timeout=30, description="all to be shown healthy"
    )
    return shown


@pytest.mark.parametrize("screen", LOOKS, indirect=True, ids="-".join)
def test_axe_finds_nothing_in_any_open_dialog(whole, screen):
    page = screen.page
    with Traffic(whole.router, DEMO, max_tokens=2):
        wait_until(lambda: screen.cell("alpha-server", "requests") not in ("0", "–"), description="numbers")
        assert violations(page) == ""
    screen.button("Keys").click()
    assert violations(page) == "", "the keys' dialog"
    page.keyboard.press("Escape")
    screen.give(operator=TOKEN)
    screen.button("Drain alpha-server").click()
    assert violations(page) == "", "the drain's dialog"
    page.keyboard.press("Escape")
    try:
        whole.svc("drain", "alpha")
        wait_until(lambda: screen.state("alpha-server") == "drained", description="it to show")
        screen.context.set_offline(True)
        wait_until(lambda: "link lost" in screen.link(), timeout=15, description="the link to be lost")
        assert violations(page) == "", "drained, and the link lost"
    finally:
        screen.context.set_offline(False)
        whole.svc("undrain", "alpha")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off at the side"


@pytest.mark.skipif("SVC_SCREENSHOTS" not in os.environ, reason="SVC_SCREENSHOTS=1 writes docs/images")
@pytest.mark.timeout(600)
def test_screenshots_for_the_documents_are_taken(whole, look):
    IMAGES.mkdir(exist_ok=True)
    stir(whole)
    with Traffic(whole.router, DEMO, max_tokens=20, stream=True):
        end = time.monotonic() + PAST
        for length in cycle((30, 12, 25)):  # a load that is not flat
            whole.behave("alpha-server", tokens=length)
            read_stream(whole.chat(REAL, max_tokens=48, stream=True))
            if time.monotonic() > end:
                break
        whole.svc("drain", "beta")
        for scheme, kind in LOOKS:
            shown = look(whole.router, color_scheme=scheme, viewport=PHONE if kind == "phone" else DESK)
            shown.live()
            wait_until(lambda shown=shown: shown.state("beta-server") == "drained", description="it to show")
            try_it(shown)
            shot = IMAGES / f"ui-{scheme}-{kind}.png"
            shown.page.evaluate(TOP)
            shown.page.screenshot(path=shot, full_page=kind == "desk")
            assert shot.stat().st_size < LARGEST
        whole.svc("undrain", "beta")


def stir(whole: Fleet) -> None:
    """Kill an instance, which is started again, then let its requests fail for a while: that makes events."""
    killed = whole.pid("alpha:server")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: whole.pid("alpha:server") not in (0, killed), timeout=30, description="it to be started")
    wait_until(lambda: "alpha-server" in whole.routed(), timeout=30, description="the router to take it back")
    whole.behave("alpha-server", fail_status=502)
    with Traffic(whole.router, DEMO, max_tokens=2):
        wait_until(lambda: whole.look("alpha-server")["ejected"], description="the router to eject it")
        whole.behave("alpha-server", fail_status=None)
        wait_until(lambda: not whole.look("alpha-server")["ejected"], timeout=60, description="a trial to go well")


def try_it(screen) -> None:
    form = screen.page.get_by_role("form", name="Try it")
    form.get_by_label("Model").select_option(REAL)
    form.get_by_label("Prompt").fill("Tell me about Paris in one sentence.")
    form.get_by_role("button", name="Send").click()
    wait_until(lambda: "Paris" in form.get_by_label("Answer").inner_text(), timeout=60, description="the answer")
    form.get_by_role("button", name="Send").wait_for(timeout=60_000)
    screen.page.evaluate("document.activeElement.blur()")


def violations(page) -> str:
    """Return the violations that axe reports."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=RULES)
    return found.generate_report() if found.violations_count else ""
