"""The prefix map of one of several processes, which also has the prefixes that the others have sent to instances.

A process writes each conversation that it sends, and the instance, to its ring in shared memory (`prefix_rings.py`).
Before it chooses an instance, it reads what is new in the rings of the others.
"""

from collections.abc import Callable, Iterable, Sequence

from svc.router.balance.pool import digest
from svc.router.balance.prefix_map import Match, PrefixMap
from svc.router.workers.prefix_rings import RING_RECORDS, PrefixRings

NO_CHOICE: tuple[Sequence[int], str] = (), ""


class SharedPrefixes(PrefixMap):
    """The map of one process. `names` returns the names of all instances: the rings have only their hashes."""

    def __init__(self, max_bytes: int, rings: PrefixRings, slot: int, names: Callable[[], Iterable[str]]) -> None:
        super().__init__(max_bytes)
        self._rings = rings
        self._slot = slot
        self._names = names
        self._chosen: tuple[Sequence[int], str] = NO_CHOICE
        self._name_of: dict[int, str] | None = None  # hash -> name, for the present table; None: not made yet
        self._read = [0] * rings.processes  # number of records that were read from each ring

    def find(self, hashes: Sequence[int]) -> list[Match]:
        self._receive()
        return super().find(hashes)

    def add(self, hashes: Sequence[int], instance: str) -> None:
        """Note the choice. The instance may turn out to be full, so only `settle` records the conversation as sent."""
        self._chosen = hashes, instance

    def settle(self, is_sent: bool) -> None:
        """Record the last choice if the conversation is sent to that instance, else drop it."""
        (hashes, instance), self._chosen = self._chosen, NO_CHOICE
        if is_sent and hashes:
            if not self.has(hashes, instance):
                self._rings.write(self._slot, digest(instance.encode()), hashes)
            super().add(hashes, instance)

    def forget_names(self) -> None:
        """Call `names` again before the next use, because the names in the table may have changed."""
        self._name_of = None

    def _receive(self) -> None:
        """Add what the other processes have sent since the last call."""
        rings = self._rings
        for slot, number in enumerate(self._read):
            written = rings.written(slot)
            if written != number and slot != self._slot:
                self._read[slot] = written
                for record in range(max(number, written - RING_RECORDS + 1), written):
                    instance, hashes = rings.read(slot, record)
                    name = self._find_name(instance)
                    if name is not None:
                        super().add(hashes, name)

    def _find_name(self, instance: int) -> str | None:
        """Return the name with this hash; None if no instance in the table has it any more."""
        if self._name_of is None:
            self._name_of = {digest(name.encode()): name for name in self._names()}
        return self._name_of.get(instance)
