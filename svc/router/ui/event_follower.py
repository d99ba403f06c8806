"""The registry's events, followed while a page is open."""

import logging

from svc.base.errors import SvcError
from svc.client.registry import RegistryClient
from svc.router.ui.feed import EVENTS, Feed

log = logging.getLogger(__name__)
WAIT = 20.0  # seconds that the registry may keep us waiting
PAUSE = 1.0  # seconds until the next look, where that was no use, and while nobody looks


class EventFollower:
    """Call `once` again and again, after the seconds that it returns; sooner when a page opens."""

    def __init__(self, pulse: Feed, client: RegistryClient) -> None:
        self._pulse = pulse
        self._client = client
        self._last: int | None = None
        self._away = False

    def once(self) -> float:
        """Tells what is new. What is wrong is logged once: the page says itself that the registry is away."""
        if not self._pulse.pages:
            return PAUSE
        try:
            events, last = self._client.events(self._last, EVENTS, WAIT if self._last is not None else 0)
        except SvcError as error:
            if not self._away:
                log.warning("no events for the page: %s", error)
            self._away = True
            return PAUSE
        self._away = False
        if self._last is not None and last < self._last:
            self._pulse.forget()
        self._last = last
        if events:
            self._pulse.happened(events)
        return 0.0
