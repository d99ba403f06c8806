"""What requests have used since the sums were last taken, one row for each key, user and model. Pure.

Clients may name any number of users, so the number of rows is limited. Beyond the limit, a request is counted in the
row of its key, its model and the user OTHER; if there are too many of these as well, in the row with OTHER for all
three.
"""

from svc.protocol.usage import OTHER, UsageCounts
from svc.router.telemetry.request_tokens import RequestTokens

MAX_ROWS = 10_000  # further rows are counted for OTHER; rows are taken twice a second

Place = tuple[str, str, str]  # key, user and model


class UsageEntry(UsageCounts, array_like=True):
    """What was used in one hour by one key, user and model. `time`: the hour's beginning, in Unix seconds."""

    time: int = 0
    key: str = ""
    user: str = ""
    model: str = ""

    def add_tokens(self, used: RequestTokens, counted: RequestTokens, seconds: float) -> None:
        """Add what a request has used beyond what was `counted` before, and the seconds of its stream since then."""
        self.prompt += used.prompt - counted.prompt
        self.cached += used.cached - counted.cached
        self.completion += used.completion - counted.completion
        self.estimated += used.estimated - counted.estimated
        self.stream_seconds += seconds


class UsageSums:
    """A bounded number of rows. `folded` counts how often OTHER was used in place of a new row."""

    __slots__ = ("_limit", "_rows", "folded")

    def __init__(self, limit: int = MAX_ROWS) -> None:
        self._limit = limit
        self._rows: dict[Place, UsageEntry] = {}
        self.folded = 0

    def __len__(self) -> int:
        return len(self._rows)

    def requests(self) -> int:
        """Return the number of requests in all rows."""
        return sum(row.requests for row in self._rows.values())

    def row(self, key: str, user: str, model: str) -> UsageEntry:
        """Return the row of a key, a user and a model. The caller must add to it before `take` is called."""
        row = self._rows.get((key, user, model))
        return self._new_row(key, user, model) if row is None else row

    def add(self, entries: list[UsageEntry]) -> None:
        """Add the rows of another process."""
        for entry in entries:
            self.row(entry.key, entry.user, entry.model).add(entry)

    def take(self) -> list[UsageEntry]:
        """Return all rows, and begin again without any."""
        rows, self._rows = self._rows, {}
        return list(rows.values())

    def _new_row(self, key: str, user: str, model: str) -> UsageEntry:
        if len(self._rows) >= self._limit:
            self.folded += 1
            user = OTHER
            if len(self._rows) >= 2 * self._limit:
                key = model = OTHER
            if row := self._rows.get((key, user, model)):
                return row
        encodable_user = user.encode(errors="replace").decode()  # half a surrogate pair cannot be written
        row = self._rows[key, user, model] = UsageEntry(0, key, encodable_user, model)
        return row
