"""Counts the answers with status 500 among an instance's last answers. Pure.

Each attempt has a number, because the statistics count attempts. Only the numbers of attempts that were answered with
500 are kept, so that any other answer costs nothing.
"""

from collections import deque

LAST_ANSWERS = 20
MAX_RARE_RATIO = 0.25


class ServerErrors:
    """The answers with status 500 among the last LAST_ANSWERS answers of one instance."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: deque[int] = deque(maxlen=LAST_ANSWERS)  # the numbers of attempts that were answered with 500

    def add(self, number: int) -> None:
        """Add the number of an attempt that was answered with 500. Numbers only grow."""
        self._numbers.append(number)

    def count(self, attempts: int) -> int:
        """Return how many of the last answers are 500. `attempts`: the number of the last attempt."""
        return sum(number > attempts - LAST_ANSWERS for number in self._numbers)

    def are_majority(self, attempts: int) -> bool:
        """Return whether more than half of the last LAST_ANSWERS answers are 500."""
        return self.count(attempts) > LAST_ANSWERS / 2

    def are_rare(self, attempts: int) -> bool:
        """Return whether so few of the last answers are 500 that requests alone may have caused them."""
        return self.count(attempts) <= LAST_ANSWERS * MAX_RARE_RATIO
