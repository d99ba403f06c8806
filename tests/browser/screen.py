"""The router's page as a user sees it, by the names that a screen reader reads."""

import re
from collections.abc import Callable
from typing import Any

from tests.waiting import wait_until

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Notes the time at which each state and each event is first shown, since a test may look later.
NOTES = """
(() => {
  window.shown = {states: [], events: []};
  const last = new Map(), knownEvents = new Set();
  const now = () => Date.now() / 1000;
  const look = () => {
    for (const row of document.querySelectorAll('tr[data-instance]')) {
      const cell = row.matches('[data-state]') ? row : row.querySelector('[data-state]');
      const state = cell && cell.getAttribute('data-state'), name = row.dataset.instance;
      if (state && last.get(name) !== state) { last.set(name, state); shown.states.push([now(), name, state]); }
    }
    for (const item of document.querySelectorAll('ol[aria-label="Events"] > li')) {
      const text = item.innerText;
      if (!knownEvents.has(text)) { knownEvents.add(text); shown.events.push([now(), text]); }
    }
  };
  new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
})()
"""


class Screen:
    """One page. `problems` are its console errors and its requests to other machines."""

    def __init__(self, browser: Any, router: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESK, "reduced_motion": "reduce", **context})
        self.router = router
        self.problems: list[str] = []
        self.loads = 0
        self.page = self.context.new_page()
        self.page.add_init_script(NOTES)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._check_address)
        self.page.on("load", lambda _: self._loaded())

    def open(self) -> "Screen":
        self.page.goto(f"{self.router}/ui")
        self.page.get_by_role("main").wait_for()
        return self

    def close(self) -> None:
        self.context.close()
        assert self.problems == []

    def live(self) -> None:
        """Wait until the link is up."""
        wait_until(lambda: "live" in self.link(), description=lambda: f"the link to be live: {self.link()}")

    def link(self) -> str:
        return self.page.locator("[aria-label=Connection]").inner_text()

    def row(self, name: str) -> Any:
        return self.page.locator(f'tr[data-instance="{name}"]')

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def cell(self, name: str, column: str) -> str:
        return str(self.row(name).locator(f"[data-cell={column}]").inner_text())

    def state(self, name: str) -> str:
        states = [state for _, of, state in self.page.evaluate("shown.states") if of == name]
        return states[-1] if states else ""

    def state_shown_at(self, name: str, fits: Callable[[str], bool], since: float, timeout: float = 20) -> float:
        """Return when a matching state of an instance was first shown, in Unix seconds."""

        def found() -> list[float]:
            notes = self.page.evaluate("shown.states")
            return [at for at, of, state in notes if of == name and at >= since and fits(state)]

        return wait_until(found, timeout, lambda: f"{name} to show it; {self.state(name)!r} is what shows")[0]

    def event_shown_at(self, *words: str, since: float, timeout: float = 20) -> float:
        """Return when an event with all these words was first shown, in Unix seconds."""

        def found() -> list[float]:
            notes = self.page.evaluate("shown.events")
            return [at for at, text in notes if at >= since and all(re.search(word, text) for word in words)]

        return wait_until(found, timeout, description=f"the event {words}")[0]

    def give(self, operator: str = "", key: str = "", refused: bool = False) -> None:
        """Enter the operator's token and a client's key; the dialog may be open already, because a key is missing."""
        dialog = self.page.get_by_role("dialog", name="Keys")
        if not dialog.is_visible():
            self.button("Keys").click()
        for label, secret in (("Operator token", operator), ("API key", key)):
            field = dialog.get_by_label(label)
            if secret and not field.is_visible():
                dialog.get_by_text("To drain instances").click()
            if secret:
                field.fill(secret)
        dialog.get_by_role("button", name="Save").click()
        if not refused:
            dialog.wait_for(state="hidden")

    def _check_address(self, request: Any) -> None:
        if not request.url.startswith((self.router, "data:", "blob:")):
            self.problems.append(f"requests {request.url}")

    def _loaded(self) -> None:
        self.loads += 1
