"""What a registry may say of a name, after all that it acknowledged and what it may have done besides: pure."""

from collections.abc import Callable
from typing import NamedTuple

from svc.registry.store.redis_connection import CLOCK_ANSWER_SECONDS

SLACK = CLOCK_ANSWER_SECONDS / 2  # seconds: a registry knows Redis's clock to half the time that its answer took


class Fact(NamedTuple):
    """One name; the status is None while it is not registered. The drain mark outlives the registration."""

    status: str | None = None
    weight: int = 1
    drained: bool = False


Act = Callable[[Fact], Fact | None]  # what comes of it; None: the registry answers 404


def register(status: str, weight: int) -> Act:
    return lambda f: Fact(status, weight, f.drained)


def heartbeat(status: str) -> Act:
    return lambda f: f._replace(status=status) if f.status else None


def remove(f: Fact) -> Fact | None:
    return Fact(None, 1, f.drained) if f.status else None


def drain(f: Fact) -> Fact | None:
    return f._replace(drained=True) if f.status else None


def undrain(f: Fact) -> Fact | None:
    """One that has left loses its mark, though the answer is 404."""
    return f._replace(drained=False) if f.status else None


class Ledger:
    """Of one name with one writer. Raises AssertionError when the registry contradicts what it acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.possible = {Fact()}
        self.heard = 0.0  # the registry acknowledged that it heard of it at this time or later
        self.changes = 0  # acknowledged ones, each of which raised the revision

    def acknowledged(self, act: Act, now: float = 0.0) -> None:
        """`now` is when it was sent, of what renews the lease."""
        self.changes += all(act(f) not in (None, f) for f in self.possible)
        self._become({done for f in self.possible if (done := act(f))}, "it acknowledged what it could not do")
        self.heard = max(self.heard, now)

    def unknown(self, act: Act) -> None:
        """It answered 404."""
        left = {f for f in self.possible if f.status is None}
        self._become({Fact()} if left and act is undrain else left, "it does not know the name")

    def unanswered(self, act: Act) -> None:
        """It may have done it or not."""
        unmarked = {Fact() for f in self.possible if f.status is None and act is undrain}
        self.possible |= unmarked | {done for f in self.possible if (done := act(f))}

    def seen(self, status: str | None, weight: int = 1, drained: bool = False, heard: float = 0.0) -> None:
        """It lists this; of a name that it does not list, the drain mark cannot be seen."""
        found = {f for f in self.possible if f == (status, weight, drained) or (status is None and f.status is None)}
        self._become(found, f"it says {status, weight, drained}")
        if status is None:
            self.heard = 0.0
        assert heard >= self.heard - SLACK, f"{self.name}: last heard at {heard}, acknowledged {self.heard}"

    def _become(self, left: set[Fact], what: str) -> None:
        assert left, f"{self.name}: {what}; by what it acknowledged it is one of {sorted(self.possible, key=str)}"
        self.possible = left
