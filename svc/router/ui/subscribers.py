"""The subscribers of the page's event stream: each has a bounded queue of unread messages."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited

MAX_SUBSCRIBERS = 64
MAX_UNREAD_MESSAGES = 40  # about twenty seconds of messages
# A comment is sent after this time without a message, because proxies close silent connections.
KEEPALIVE_INTERVAL_SECONDS = 10.0
KEEPALIVE_COMMENT = b": still here\n\n"


class Subscriber:
    """One open page. Iteration waits for messages until `end` is called. The iterating caller must call `close`."""

    def __init__(self, first: Iterable[bytes], on_close: Callable[["Subscriber"], None]) -> None:
        self._ended = False
        self._on_close = on_close
        self._unread = deque(first)
        self._changed = threading.Event()
        self._changed.set()

    def send(self, message: bytes) -> None:
        """Queue a message. If too many are unread, end the subscriber: its page connects again and gets all data."""
        if len(self._unread) >= MAX_UNREAD_MESSAGES:
            self.end()
        self._unread.append(message)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        self._on_close(self)

    def __iter__(self) -> "Subscriber":
        return self

    def __next__(self) -> bytes:
        self._changed.wait(KEEPALIVE_INTERVAL_SECONDS)
        self._changed.clear()
        if self._ended:
            raise StopIteration
        messages = []
        while self._unread:
            messages.append(self._unread.popleft())
        return b"".join(messages) or KEEPALIVE_COMMENT


class Subscribers:
    """The set of the subscribers of all open pages."""

    def __init__(self) -> None:
        self._open: set[Subscriber] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, first: Iterable[bytes]) -> Subscriber:
        """Return a new subscriber with its first messages; raise RateLimited if too many pages are open."""
        if len(self._open) >= MAX_SUBSCRIBERS:
            raise RateLimited(f"{MAX_SUBSCRIBERS} pages are open already; close one", retry_after=5)
        subscriber = Subscriber(first, self._open.discard)
        self._open.add(subscriber)
        return subscriber

    def send(self, message: bytes) -> None:
        for subscriber in list(self._open):
            subscriber.send(message)

    def end(self) -> None:
        for subscriber in list(self._open):
            subscriber.end()
