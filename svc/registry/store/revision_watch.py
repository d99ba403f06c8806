"""The latest revision that this process knows, for threads that wait for the next one."""

import threading

UNKNOWN = -1


class RevisionWatch:
    """The latest known revision of a store, and a way to wait for the next one.

    `value` is the latest known revision; the store's revision may be newer until its message arrives. `changed` is a
    threading.Event that is set when `value` changes; a new Event then takes its place.
    """

    def __init__(self) -> None:
        self.value = UNKNOWN
        self.changed = threading.Event()
        self._lock = threading.Lock()

    def advance(self, revision: int) -> None:
        """Set `value` to the revision from a message, unless it is lower: messages may arrive in any order."""
        with self._lock:
            if revision > self.value:
                self._set(revision)

    def synchronize(self, revision: int, before: int) -> None:
        """Set `value` to the revision that the store returned for a request sent when `value` was `before`.

        A revision lower than `before` is accepted, too, because the store has then lost its data.
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
