"""The states in which a name may be, by what a registry acknowledged and what it may have done without an answer."""

from collections.abc import Callable
from typing import NamedTuple

from svc.registry.store.redis_connection import CLOCK_ANSWER_SECONDS

MAX_CLOCK_ERROR_SECONDS = CLOCK_ANSWER_SECONDS / 2  # a registry knows Redis's clock to half the time of an answer


class NameState(NamedTuple):
    """The state of a name. The status is None while it is not registered; the drain mark outlives the registration."""

    status: str | None = None
    weight: int = 1
    drained: bool = False


Operation = Callable[[NameState], NameState | None]  # returns the next state; None: the registry answers 404


def register(status: str, weight: int) -> Operation:
    return lambda state: NameState(status, weight, state.drained)


def heartbeat(status: str) -> Operation:
    return lambda state: state._replace(status=status) if state.status else None


def remove(state: NameState) -> NameState | None:
    return NameState(None, 1, state.drained) if state.status else None


def drain(state: NameState) -> NameState | None:
    return state._replace(drained=True) if state.status else None


def undrain(state: NameState) -> NameState | None:
    """Clear the mark; that of an unknown name is cleared too, though the answer is 404."""
    return state._replace(drained=False) if state.status else None


class Ledger:
    """The possible states of a name that one writer changes. Raises AssertionError if the registry contradicts them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.possible = {NameState()}
        self.last_heartbeat = 0.0  # the registry acknowledged a heartbeat at this time or later
        self.changes = 0  # acknowledged changes, each of which raised the revision

    def acknowledged(self, operation: Operation, now: float = 0.0) -> None:
        """Record an acknowledged operation. `now` is when it was sent, if it renews the lease."""
        self.changes += all(operation(state) not in (None, state) for state in self.possible)
        self._become(
            {done for state in self.possible if (done := operation(state))},
            "it acknowledged an operation that it could not do",
        )
        self.last_heartbeat = max(self.last_heartbeat, now)

    def unknown(self, operation: Operation) -> None:
        """Record that the registry answered 404."""
        unregistered = {state for state in self.possible if state.status is None}
        self._become(
            {NameState()} if unregistered and operation is undrain else unregistered, "it does not know the name"
        )

    def unanswered(self, operation: Operation) -> None:
        """Record an operation without an answer: the registry may have done it or not."""
        unmarked = {NameState() for state in self.possible if state.status is None and operation is undrain}
        self.possible |= unmarked | {done for state in self.possible if (done := operation(state))}

    def listed(self, status: str | None, weight: int = 1, drained: bool = False, last_heartbeat: float = 0.0) -> None:
        """Record what the registry lists; without a status it lists nothing, and the drain mark is unknown."""
        matching = {
            state
            for state in self.possible
            if state == (status, weight, drained) or (status is None and state.status is None)
        }
        self._become(matching, f"it says {status, weight, drained}")
        if status is None:
            self.last_heartbeat = 0.0
        assert last_heartbeat >= self.last_heartbeat - MAX_CLOCK_ERROR_SECONDS, (
            f"{self.name}: last heartbeat at {last_heartbeat}, acknowledged {self.last_heartbeat}"
        )

    def _become(self, possible: set[NameState], answer: str) -> None:
        assert possible, f"{self.name}: {answer}; by what it acknowledged it is one of {sorted(self.possible, key=str)}"
        self.possible = possible
