"""The latest revision that this process knows of, and the threads that wait for the next."""

import threading

UNKNOWN = -1


class RevisionWatch:
    """`value` is a revision that the store has reached: it may be behind by the time that a message takes.

    `changed` is set when `value` changes; each value has an event of its own.
    """

    def __init__(self) -> None:
        self.value = UNKNOWN
        self.changed = threading.Event()
        self._lock = threading.Lock()

    def advance(self, revision: int) -> None:
        """Take over a revision from a message. Messages may come in any order, so a lower one is ignored."""
        with self._lock:
            if revision > self.value:
                self._set(revision)

    def synchronize(self, revision: int, before: int) -> None:
        """Take over the revision that the store returned to a request, which was sent when `value` was `before`.

        A revision below `before` means that the store has lost its data.
        """
        with self._lock:
            if revision > self.value or revision < before:
                self._set(revision)

    def wake(self) -> None:
        """End all waits without a new revision."""
        with self._lock:
            self._set(self.value)

    def _set(self, revision: int) -> None:
        changed, self.changed = self.changed, threading.Event()
        self.value = revision
        changed.set()
