"""Send events to the registry, and find out whether the caller must send them again later."""

import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from svc.base.errors import RateLimited, SvcError, Unavailable

if TYPE_CHECKING:  # not at run time: the router loads this module before gevent patches the client's libraries
    from svc.client.registry import Events, RegistryClient

log = logging.getLogger(__name__)


class Delivery(Enum):
    """The result of sending events."""

    ACCEPTED = auto()
    REFUSED = auto()  # the registry is too old to accept events: do not send them again
    POSTPONED = auto()  # the registry is unreachable or its rate limit is exceeded: send the events again later


class EventSender:
    """Sends events to the registry. The caller sends none while `is_ready` is false."""

    def __init__(self, client: "RegistryClient", clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._resumes = float("-inf")  # time from which the registry accepts events again
        self._refusal = ""

    @property
    def is_ready(self) -> bool:
        """Return whether events may be sent now: after a 429, they may not until the Retry-After has passed."""
        return self._clock() >= self._resumes

    def send(self, events: "Events") -> Delivery:
        """Send the events in one request; return the result and raise nothing.

        A refusal is logged unless its message is that of the refusal before.
        """
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
