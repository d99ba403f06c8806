"""The open pages: each has what it has not read yet, and nothing of it grows."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from svc.base.errors import RateLimited

MOST = 64  # open at once
BEHIND = 40  # messages that a page may be behind: some twenty seconds
SILENCE = 10.0  # seconds without a message until a comment is sent: whoever is between us and the page hears us
COMMENT = b": still here\n\n"


class Subscriber:
    """One open page. Iterating it waits for what is to be sent, until it ends; whoever iterates it closes it."""

    def __init__(self, first: Iterable[bytes], forget: Callable[["Subscriber"], None]) -> None:
        self._over = False
        self._forget = forget
        self._unread = deque(first)
        self._more = threading.Event()
        self._more.set()

    def tell(self, message: bytes) -> None:
        """One that does not read is given up: it asks anew, and gets everything at once."""
        if len(self._unread) >= BEHIND:
            self.end()
        self._unread.append(message)
        self._more.set()

    def end(self) -> None:
        self._over = True
        self._more.set()

    def close(self) -> None:
        self._forget(self)

    def __iter__(self) -> "Subscriber":
        return self

    def __next__(self) -> bytes:
        self._more.wait(SILENCE)
        self._more.clear()
        if self._over:
            raise StopIteration
        told = []
        while self._unread:
            told.append(self._unread.popleft())
        return b"".join(told) or COMMENT


class Subscribers:
    """All of them."""

    def __init__(self) -> None:
        self._open: set[Subscriber] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, first: Iterable[bytes]) -> Subscriber:
        """Raises RateLimited where too many are open."""
        if len(self._open) >= MOST:
            raise RateLimited(f"{MOST} pages are open already; close one", retry_after=5)
        page = Subscriber(first, self._open.discard)
        self._open.add(page)
        return page

    def tell(self, message: bytes) -> None:
        for page in list(self._open):
            page.tell(message)

    def end(self) -> None:
        for page in list(self._open):
            page.end()
