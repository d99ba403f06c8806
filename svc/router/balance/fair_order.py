"""The order of the requests that wait: by priority, and within a priority fair by tokens among accounts. Pure.

The rule is virtual token counting (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024). Each account
has a counter, which rises by the tokens of its requests, divided by the account's share. Of the accounts with waiting
requests, the one with the smallest counter has its turn; its requests are served in the order of arrival:

    account    counter   waiting
    ci             900        12
    alice          850         1    <- has its turn
    bob            400         0    its next request lifts the counter to 850: idle time saves nothing up

A request that gets a place is charged with the tokens that it is expected to use. The charge is corrected while its
response streams and when it ends, also if it was cancelled or has failed. A counter is lifted only to what the others
have used so far, without what their running requests are expected to use. Otherwise, corrections would later lower the
others' counters below the lifted one, and its account would have to wait until they have risen again.

Only counters of the same priority and the same group are compared. A group is a set of models that share instances:
what an account uses of other instances does not count here. A request of a higher priority goes first. But for each
AGING_SECONDS in which an account waits and is not served, its next request rises by one priority, so that no request
waits for ever.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import msgspec

from svc.router.balance.account import Account

UNITS_PER_TOKEN = 1000  # counters are integers, so that charges and corrections cancel exactly
AGING_SECONDS = 5.0
MAX_CHARGED_TOKENS = 100_000_000  # limit for one request, whatever engines report: counters must fit into 64 bits
MAX_COUNTERS = 20_000  # if there are more, the counters that were used least recently are forgotten
MAX_QUEUE_MULTIPLE = 8  # an account's waiting requests are fewer than this multiple of the queue's free places
BASE = ""  # in place of an account's name: the key of the counter from which new accounts start

CounterKey = tuple[str, int, str]  # group, priority, account
NO_ACCOUNT: CounterKey = ("", 0, BASE)  # stands for requests without an account


class Rank(NamedTuple):
    """The position of a waiting request: the smallest rank of a group has its turn."""

    level: int  # minus the priority, and minus one for each AGING_SECONDS of waiting
    priority: int  # breaks ties in level: the request of lower priority has waited longer
    counter: int
    ticket: int


class Charge(msgspec.Struct, gc=False, eq=False):
    """The tokens that one request is charged with."""

    key: CounterKey
    share: float
    since: float  # when the request arrived
    body_bytes: int
    is_background: bool = False  # whether the request leaves some places of each instance to others
    expected: int = 0  # the tokens that the request is expected to use; estimated only if requests wait
    tokens: int = 0  # what the request is charged with at present
    units: int = 0  # `tokens` in counter units, divided by the account's share
    running: int = 0  # the units with which the request was charged in advance; 0 once it has ended


class Counters(dict[CounterKey, int]):
    """The counters of accounts. At MAX_COUNTERS, the least recently used one is forgotten: its account starts anew."""

    def set(self, key: CounterKey, units: int) -> None:
        self.pop(key, None)
        if len(self) >= MAX_COUNTERS:
            del self[next(iter(self))]
        self[key] = units

    def value(self, key: CounterKey) -> int:
        """Return the counter of an account. If it has none yet, return the counter BASE of its group and priority."""
        units = self.get(key)
        return self.get((key[0], key[1], BASE), 0) if units is None else units


class FairOrder:
    """The counters, and which accounts have waiting requests. `now` is set by the sweep, ten times a second."""

    def __init__(
        self, counters: Counters | None = None, lock: AbstractContextManager[object] | None = None, processes: int = 1
    ) -> None:
        """`lock` is held while counters are changed, and is reentrant. None: no other process changes them.

        `processes`: how many processes have waiting and running requests. Each is assumed to have as many as this one.
        """
        self.counters = Counters() if counters is None else counters
        self.now = 0.0
        self.group: Callable[[str | None], str] = lambda model: ""  # returns the group of a model
        self._lock = nullcontext() if lock is None else lock
        self._processes = processes
        self._waiting: dict[CounterKey, int] = {}  # account -> its waiting requests
        self._running: dict[CounterKey, int] = {}  # account -> units charged in advance for its running requests
        self._served_at: dict[CounterKey, float] = {}  # account with waiting requests -> when it last got a place
        # What has happened since the last `flush`: changing a counter for each request would cost too much.
        self._begun: dict[CounterKey, None] = {}
        self._units: dict[CounterKey, int] = {}
        # Tokens of ended requests without a charge, by model, account, priority and share: `flush` charges them.
        self._uncharged: defaultdict[tuple[str | None, str, int, float], int] = defaultdict(int)

    # Requests that get a place.

    def begin(self, charge: Charge) -> None:
        """Record a request that gets a place while no request waits. It is charged when its tokens are known."""
        self._begun[charge.key] = None

    def use(self, account: Account, model: str | None, tokens: int) -> None:
        """Count the tokens of a request that has ended, and had no charge because it got its place while none waited.

        Most requests have no charge, so this only adds to a sum; a charge for each of them would cost 2 us.
        """
        self._uncharged[model, account.name, account.priority, account.share] += tokens

    def serve(self, charge: Charge) -> None:
        """Charge a request that gets a place while others wait: its expected tokens, unless it is charged with more."""
        key = charge.key
        with self._lock:
            self.lift(key)
            self.counters.set((key[0], key[1], BASE), self.counters.value(key))
            if key in self._waiting:
                self._served_at[key] = self.now
            self.charge(charge, max(charge.tokens, charge.expected))
            if not charge.running:
                charge.running = charge.units
                self._running[key] = self._running.get(key, 0) + charge.units
            self.flush()

    def end(self, charge: Charge, tokens: int) -> None:
        """Charge a request that has ended with the tokens that it has used."""
        if charge.running:
            left = self._running[charge.key] - charge.running
            charge.running = 0
            if left:
                self._running[charge.key] = left
            else:
                del self._running[charge.key]
        self.charge(charge, tokens)

    def charge(self, charge: Charge, tokens: int) -> None:
        """Set the total with which a request is charged to `tokens`, and add the difference to its account."""
        tokens = min(tokens, MAX_CHARGED_TOKENS)
        if tokens != charge.tokens:
            units = int(tokens * UNITS_PER_TOKEN / charge.share)
            self._units[charge.key] = self._units.get(charge.key, 0) + units - charge.units
            charge.tokens, charge.units = tokens, units

    def flush(self) -> None:
        """Enter into the counters what has happened since the last call."""
        if not self._begun and not self._units and not self._uncharged:
            return
        counters, units_of = self.counters, self._units
        for (model, name, priority, share), tokens in self._uncharged.items():
            key = (self.group(model), priority, name)
            self._begun[key] = None
            units_of[key] = units_of.get(key, 0) + int(tokens * UNITS_PER_TOKEN / share)
        self._uncharged.clear()
        with self._lock:
            for key in self._begun:
                if key not in self._waiting:
                    base = (key[0], key[1], BASE)
                    units = max(counters.value(key), counters.value(base))
                    counters.set(base, units)
                    counters.set(key, units)
            for key, units in units_of.items():
                counters.set(key, counters.value(key) + units)
        self._begun.clear()
        self._units.clear()

    # Requests that wait.

    @property
    def has_waiting(self) -> bool:
        """Whether a request with an account waits."""
        return bool(self._waiting)

    def lift(self, key: CounterKey, lowest: int | None = None) -> None:
        """Lift the counter of an account that becomes active to just below what the active accounts have used.

        `lowest`: the smallest counter among the accounts of this group and priority that wait in other processes; None
        if none waits there.
        """
        self.flush()
        if key in self._waiting:
            return
        with self._lock:
            active = [self._used(other) for other in self._waiting if other[:2] == key[:2]]
            if lowest is not None:
                active.append(lowest)
            start = min(active) - 1 if active else self.counters.value((key[0], key[1], BASE))
            known = self.counters.get(key)
            self.counters.set(key, start if known is None else max(known, start))

    def _used(self, key: CounterKey) -> int:
        """Return the counter without what the running requests of the account are expected to use."""
        return self.counters.value(key) - self._running.get(key, 0) * self._processes

    def arrive(self, charge: Charge | None) -> None:
        """Count a request that begins to wait. Call `lift` first."""
        if charge is not None:
            self._waiting[charge.key] = self._waiting.get(charge.key, 0) + 1

    def depart(self, charge: Charge | None) -> None:
        """Count a request that ceases to wait."""
        if charge is not None:
            left = self._waiting[charge.key] - 1
            if left:
                self._waiting[charge.key] = left
            else:
                del self._waiting[charge.key]
                self._served_at.pop(charge.key, None)

    def may_wait(self, charge: Charge | None, room: int) -> bool:
        """Return whether an account may have one more waiting request. `room`: the free places of the queue.

        One account never fills the queue: others always find room.
        """
        return charge is None or self._waiting.get(charge.key, 0) * self._processes < MAX_QUEUE_MULTIPLE * room

    def rank(self, charge: Charge | None, ticket: int) -> Rank:
        if charge is None:
            return Rank(0, 0, 0, ticket)
        key = charge.key
        waited = self.now - max(charge.since, self._served_at.get(key, 0.0))
        steps = int(waited / AGING_SECONDS) if waited > 0 else 0
        return Rank(-key[1] - steps, key[1], self.counters.value(key), ticket)


def in_order(ranks: Iterable[tuple[str, Rank]]) -> list[int]:
    """Return the indexes of `ranks`, which are pairs of group and rank, in the order of their turns.

    Counters of different groups cannot be compared: of two groups at the same level, the one with the request that has
    waited longest goes first.
    """
    entries = list(ranks)
    oldest: dict[tuple[str, int], int] = {}
    for group, rank in entries:
        place = (group, rank.level)
        oldest[place] = min(rank.ticket, oldest.get(place, rank.ticket))

    def order(index: int) -> tuple[int, int, Rank]:
        group, rank = entries[index]
        return rank.level, oldest[group, rank.level], rank

    return sorted(range(len(entries)), key=order)


def precedes(group: str, rank: Rank, other_group: str, other: Rank) -> bool:
    """Return whether the first of two requests has its turn before the second."""
    if group == other_group:
        return rank < other
    return (rank.level, rank.ticket) < (other.level, other.ticket)
