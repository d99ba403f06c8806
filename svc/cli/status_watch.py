"""`svc status --watch`: the site as it changes."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from svc.base.errors import SvcError
from svc.client.registry import RegistryClient
from svc.client.registry_watch import RegistryWatch
from svc.config.site import Site
from svc.site import observe
from svc.site.status import Report, report
from svc.terminal import table
from svc.terminal.console import Console
from svc.terminal.output import echo_json
from svc.terminal.screen import Screen, width_of

EVERY = 2.0  # seconds; the registry's changes are shown when they come
SETTLE = 0.1  # seconds that the router has to hear of one, too


def follow(site: Site, token_file: str, out: Console, as_json: bool) -> None:
    """Shows each report that differs from the one before, until it is interrupted."""
    changes = Changes(token_file)
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(out)) if out.is_terminal and not as_json else None
        for told, new in _reports(site, changes, token_file):
            if screen is not None:
                screen.show(table.lines(told, out.width, out.height))
            elif new and as_json:
                echo_json(dataclasses.asdict(told))
            elif new:
                _print(told, out)


class Changes:
    """What makes a new look worth while: the registry's revision, or else time."""

    def __init__(self, token_file: str) -> None:
        self._token_file = token_file
        self._url = ""
        self._watch: RegistryWatch | None = None
        self._last: tuple[str, int | None] | None = None

    def wait(self, url: str) -> None:
        """Returns soon after a change at the registry, after EVERY seconds at the latest."""
        if url != self._url:
            self._url = url
            self._watch = (
                RegistryWatch(RegistryClient(url.split(","), self._token_file, observe.PATIENCE)) if url else None
            )
        end = time.monotonic() + EVERY
        time.sleep(SETTLE if self._changed() else max(0.0, end - time.monotonic()))

    def _changed(self) -> bool:
        if self._watch is None:
            return False
        try:
            found = self._watch.next_list(EVERY)
        except SvcError:
            return False
        last, self._last = self._last, (found.url, found.index)
        return last != self._last


def _reports(site: Site, changes: Changes, token_file: str) -> Iterator[tuple[Report, bool]]:
    """What is seen, and whether it is something new."""
    last: Any = None
    url = ""
    while True:
        try:
            seen = observe.see(site, token_file)
            told, url = report(seen), seen.registry_url
        except SvcError as error:  # supervisord ended between two questions
            told = Report(False, None, [], [error.message])
        timeless = dataclasses.replace(told, programs=[dataclasses.replace(r, uptime=None) for r in told.programs])
        yield told, timeless != last
        last = timeless
        changes.wait(url)


def _print(told: Report, out: Console) -> None:
    out.print_line(time.strftime("%H:%M:%S"), style="dim")
    for line in table.lines(told, width_of(out)):
        out.print_line(line)
    out.print_line("")
