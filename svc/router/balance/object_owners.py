"""Which instance has an object that a client names by its id: a response, a file, a batch.

Engines keep such objects in their own memory, so only the instance that made one can return, cancel or continue it. The
map is in memory that the router's processes share, and that outlives a HUP: gunicorn's master makes it before it forks.

    clock | digests of ids | digests of the instances' names | when each entry was used last, by the clock

It is a set-associative cache, like that of a processor: an id's digest selects a set of WAYS places, and a new entry
replaces the least recently used entry of this set. So the map never grows.
"""

import mmap
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: gunicorn's master would import `target`, and a HUP would not load its new code
    from svc.router.balance.target import Target

# 65,536 entries take 1.5 MB. They last for two hours with 9 responses a second; requests about one come within minutes.
MAX_OBJECTS = 1 << 16
WAYS = 16
CELL_BYTES = 8
CLOCK, IDS = 0, 1  # positions in the memory: of the clock, and of the first id
FREE = 0  # the digest of a free place
MAX_CACHED_NAMES = 1 << 14


class ObjectOwners:
    """The map from an object's id to the instance that has it. `lock` is held for each change."""

    def __init__(self, lock: AbstractContextManager[object], size: int = MAX_OBJECTS) -> None:
        self._lock = lock
        self._sets = size // WAYS
        self._owners, self._used = IDS + size, IDS + 2 * size
        self._end = IDS + 3 * size
        self._cells = memoryview(mmap.mmap(-1, CELL_BYTES * self._end)).cast("Q")

    def __len__(self) -> int:
        return sum(digest != FREE for digest in self._cells[IDS : self._owners].tolist())

    def add(self, object_id: str, instance: str) -> None:
        """Remember that this instance has the object."""
        self.add_entry(digest_of(object_id), digest_of_name(instance))

    def add_entry(self, digest: int, owner: int) -> None:
        """Add an entry, given by the digests of the object's id and of its instance's name."""
        cells = self._cells
        with self._lock:
            place = self._place(digest)
            if place is None:
                place = min(self._places(digest), key=lambda place: (cells[IDS + place] != FREE, self._last_use(place)))
            cells[IDS + place] = FREE  # freed first, because the process may be killed in between
            cells[self._owners + place] = owner
            self._touch(place)
            cells[IDS + place] = digest

    def entries(self) -> list[tuple[int, int]]:
        """Return all entries for `add_entry`, in the order in which they were last used."""
        cells = self._cells
        with self._lock:
            ids, owners, used = cells[IDS : self._owners], cells[self._owners : self._used], cells[self._used :]
            used_entries = zip(used.tolist(), ids.tolist(), owners.tolist(), strict=True)
        return [(digest, owner) for _, digest, owner in sorted(used_entries) if digest != FREE]

    def find(self, object_id: str, targets: Iterable["Target"], touch: bool = True) -> "Target | None":
        """Return the instance that has the object; None if it is unknown, or not one of `targets`.

        `touch`: the object counts as used now.
        """
        with self._lock:
            place = self._place(digest_of(object_id))
            if place is None:
                return None
            if touch:
                self._touch(place)
            owner = self._cells[self._owners + place]
        return next((target for target in targets if digest_of_name(target.name) == owner), None)

    def remove(self, object_id: str) -> None:
        """Forget an object that was deleted."""
        with self._lock:
            place = self._place(digest_of(object_id))
            if place is not None:
                self._cells[IDS + place] = FREE

    def remove_instances(self, names: Collection[str]) -> None:
        """Forget all objects of these instances. It takes a few milliseconds."""
        gone = {digest_of_name(name) for name in names}
        if gone:
            with self._lock:
                for place, owner in enumerate(self._cells[self._owners : self._used].tolist()):
                    if owner in gone:
                        self._cells[IDS + place] = FREE

    # The methods below are called under the lock.

    def _places(self, digest: int) -> range:
        start = digest % self._sets * WAYS
        return range(start, start + WAYS)

    def _place(self, digest: int) -> int | None:
        places = self._places(digest)
        digests = self._cells[IDS + places.start : IDS + places.stop].tolist()
        return places.start + digests.index(digest) if digest in digests else None

    def _last_use(self, place: int) -> int:
        return self._cells[self._used + place]

    def _touch(self, place: int) -> None:
        self._cells[CLOCK] += 1
        self._cells[self._used + place] = self._cells[CLOCK]


def digest_of(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big") or 1


digest_of_name = lru_cache(MAX_CACHED_NAMES)(digest_of)  # ids are not cached: clients may invent any number of them
