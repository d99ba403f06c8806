"""`svc status --watch`: prints the status of a site whenever it changes."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn

from svc.base.errors import SvcError
from svc.base.signals import KeptInterrupt
from svc.client.registry import RegistryClient
from svc.client.registry_watch import RegistryWatch
from svc.config.site import Site
from svc.site import observe
from svc.site.status import SiteStatus, site_status
from svc.site.status_table import status_lines
from svc.terminal.console import Console
from svc.terminal.output import echo_json
from svc.terminal.screen import Screen, width_of

POLL_INTERVAL_SECONDS = 2.0  # longest time between two observations; a change at the registry triggers one at once
ROUTER_DELAY_SECONDS = 0.1  # from a change at the registry to the observation: the router reads the change meanwhile


def watch(site: Site, token_file: str, registry_url: str, out: Console, as_json: bool) -> NoReturn:
    """Print each status that differs from the previous one, until the command is interrupted.

    On a terminal each status replaces the previous one in place.
    """
    with ExitStack() as stack:
        screen = stack.enter_context(Screen(out)) if out.is_terminal and not as_json else None
        interrupt = stack.enter_context(KeptInterrupt())  # after Screen, because Screen handles SIGTERM like Ctrl-C
        changes = ChangeWaiter(token_file, interrupt.sleep)
        for status, changed in _statuses(site, changes, token_file, registry_url):
            if screen is not None:
                screen.show(status_lines(status, out.width, out.height))
            elif changed and as_json:
                echo_json(dataclasses.asdict(status))
            elif changed:
                _print(status, out)
    raise AssertionError("_statuses never ends")


class ChangeWaiter:
    """Waits until the site should be observed again: after a change at the registry, or after a limited time."""

    def __init__(self, token_file: str, sleep: Callable[[float], None]) -> None:
        self._token_file = token_file
        self._sleep = sleep
        self._url = ""
        self._watch: RegistryWatch | None = None
        self._last: tuple[str, int | None] | None = None

    def wait(self, url: str) -> None:
        """Return soon after a change at the registry at `url`, or after POLL_INTERVAL_SECONDS."""
        if url != self._url:
            self._url = url
            self._watch = self._new_watch(url) if url else None
        end = time.monotonic() + POLL_INTERVAL_SECONDS
        self._sleep(ROUTER_DELAY_SECONDS if self._has_changed() else max(0.0, end - time.monotonic()))

    def _new_watch(self, url: str) -> RegistryWatch:
        return RegistryWatch(RegistryClient(url.split(","), self._token_file, observe.HTTP_TIMEOUT_SECONDS))

    def _has_changed(self) -> bool:
        if self._watch is None:
            return False
        try:
            services = self._watch.next_list(POLL_INTERVAL_SECONDS)
        except SvcError:
            return False
        last, self._last = self._last, (services.url, services.index)
        return last != self._last


def _statuses(
    site: Site, changes: ChangeWaiter, token_file: str, registry_url: str
) -> Iterator[tuple[SiteStatus, bool]]:
    """Yield each status, and whether anything but uptimes has changed since the previous one."""
    last: SiteStatus | None = None
    url = ""
    while True:
        try:
            snapshot = observe.snapshot(site, token_file, registry_url)
            status, url = site_status(snapshot), snapshot.registry_url
        except SvcError as error:  # for example because supervisord ended between two requests
            status = SiteStatus(False, None, [], [error.message])
        programs = [dataclasses.replace(program, uptime=None) for program in status.programs]
        without_uptimes = dataclasses.replace(status, programs=programs)
        yield status, without_uptimes != last
        last = without_uptimes
        changes.wait(url)


def _print(status: SiteStatus, out: Console) -> None:
    out.print_line(time.strftime("%H:%M:%S"), style="dim")
    for line in status_lines(status, width_of(out)):
        out.print_line(line)
    out.print_line("")
