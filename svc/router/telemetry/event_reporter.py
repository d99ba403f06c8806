"""What the router found out about instances, told to the registry as events: never in a request's way."""

import logging
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from svc.base.errors import RateLimited, SvcError, Unavailable
from svc.router.balance.ejection import InstanceHealth

if TYPE_CHECKING:  # the worker imports this before gevent has patched what the client uses
    from svc.client.registry import Events, RegistryClient

log = logging.getLogger(__name__)
KEPT = 500  # events, while no registry answers; then the oldest go
AT_ONCE = 100  # events of one request
PAUSE = 1.0  # seconds between two looks, sooner where there is something new


class EventReporter:
    """`add` is called by whoever judges; `once` again and again."""

    def __init__(self, port: int) -> None:
        self.dropped = 0  # ever
        self.added: Callable[[], object] = lambda: None  # called when there is something new
        self._kept: deque[dict[str, str]] = deque()
        host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:100]
        self._source = f"router-{host}-{port}"  # of several routers, which one

    def add(self, kind: str, name: str, message: str = "") -> None:
        if len(self._kept) >= KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append({"kind": kind, "service": name, "source": self._source, "message": message})
        self.added()

    def ejected(self, name: str, before: InstanceHealth, after: InstanceHealth, why: str, now: float) -> None:
        """`why`: what the last request has failed with."""
        row = before.failures + 1
        what = f"{row} requests in a row failed, the last one" if row > 1 else "a request failed"
        out = f"nothing new for {after.until - now:.0f} s"
        times = f", {after.ejections} times in a row" if after.ejections > 1 else ""
        self.add("ejected", name, f"{'the trial request failed' if before.trying else what}: {why}; {out}{times}")

    def checked(self, name: str, after: InstanceHealth) -> None:
        count = after.good_checks if after.well else after.bad_checks
        which = f"{count} checks in a row" if count > 1 else "one check"
        self.add("passing" if after.well else "failing", name, f"{which} {'went well' if after.well else 'failed'}")

    def next(self) -> "Events":
        return [self._kept[at] for at in range(min(AT_ONCE, len(self._kept)))]

    def done(self, events: "Events") -> None:
        """They are told, or never will be."""
        for event in events:
            if self._kept and self._kept[0] is event:  # it may have gone meanwhile
                self._kept.popleft()


class EventSender:
    """Call `once` again and again, `pause` seconds after each."""

    pause = PAUSE

    def __init__(
        self, news: EventReporter, client: "RegistryClient", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._news = news
        self._client = client
        self._clock = clock
        self._resumes = float("-inf")  # when the registry takes events again
        self._refused = ""

    def once(self) -> None:
        """Tells what there is; while the registry is away or has had enough, it stays.

        What is refused is lost, and counted.
        """
        while self._clock() >= self._resumes and (events := self._news.next()):
            try:
                self._client.tell(events)
            except Unavailable:
                return
            except RateLimited as error:
                self._resumes = self._clock() + error.retry_after
                return
            except SvcError as error:
                self._news.dropped += len(events)
                if error.message != self._refused:
                    log.warning("the registry takes no events: %s", error)
                self._refused = error.message
            self._news.done(events)
