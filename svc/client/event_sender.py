"""Send events to the registry; events wait while it is away or has had enough of them."""

import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from svc.base.errors import RateLimited, SvcError, Unavailable

if TYPE_CHECKING:  # the router imports this before gevent has patched what the client uses
    from svc.client.registry import Events, RegistryClient

log = logging.getLogger(__name__)


class Delivery(Enum):
    """What became of events that were sent."""

    ACCEPTED = auto()
    REFUSED = auto()  # for good: an older registry knows no events
    POSTPONED = auto()  # the registry is away, or its rate limit is exceeded: send them again later


class EventSender:
    """Sends events, but not while the registry's rate limit is exceeded. It logs each reason of a refusal once."""

    def __init__(self, client: "RegistryClient", clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._resumes = float("-inf")  # when the registry takes events again
        self._refusal = ""

    @property
    def is_ready(self) -> bool:
        """Return whether the registry takes events now, as far as is known."""
        return self._clock() >= self._resumes

    def send(self, events: "Events") -> Delivery:
        """Send the events in one request; raise nothing."""
        try:
            self._client.report_events(events)
        except Unavailable:
            return Delivery.POSTPONED
        except RateLimited as error:
            self._resumes = self._clock() + error.retry_after
            return Delivery.POSTPONED
        except SvcError as error:
            if error.message != self._refusal:
                log.warning("the registry takes no events: %s", error)
            self._refusal = error.message
            return Delivery.REFUSED
        return Delivery.ACCEPTED
