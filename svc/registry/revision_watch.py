"""The revision as this process knows it, and those who wait for another."""

import threading

UNKNOWN = -1


class Revision:
    """`value` is one that the store has reached: it may lag by the time that a message takes."""

    def __init__(self) -> None:
        self.value = UNKNOWN
        self.changed = threading.Event()  # of the value that stands now; swapped with it
        self._lock = threading.Lock()

    def reached(self, revision: int) -> None:
        """Told in any order: one that is passed already says nothing."""
        with self._lock:
            if revision > self.value:
                self._set(revision)

    def found(self, revision: int, before: int) -> None:
        """As the store was asked when `before` stood here: a lower one means that it has lost its data."""
        with self._lock:
            if revision > self.value or revision < before:
                self._set(revision)

    def wake(self) -> None:
        with self._lock:
            self._set(self.value)

    def _set(self, revision: int) -> None:
        changed, self.changed = self.changed, threading.Event()
        self.value = revision
        changed.set()
