"""The ledger of a router: it writes what requests have used to its file twice a second, and answers who used what.

What cannot be written waits in memory, in a bounded number of rows, until the file can be written again. So a full disk
or a locked file fails no request, and loses no row unless the router ends before.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from svc.base.errors import ConfigError, Unavailable
from svc.protocol.usage import OTHER, UsageRow
from svc.router.usage import usage_file
from svc.router.usage.native_thread import NativeThread
from svc.router.usage.usage_sums import UsageEntry, UsageSums

log = logging.getLogger(__name__)
WRITE_INTERVAL_SECONDS = 0.5  # a killed router loses less than 1 s of usage, including 0.1 s until processes report
RETRY_INTERVAL_SECONDS = 5.0  # pause after a failure
HOUR_SECONDS, DAY_SECONDS = 3600, 86400
RECENT_SECONDS = 60.0
RECENT_STEP_SECONDS = 5.0  # what was used within this time is one step of `recent`
MAX_RECENT_ROWS = 1000  # limit for the rows of one step
MAX_HOUR_ROWS = 100_000  # limit for the rows of one hour; the users of further rows become OTHER
MAX_UNWRITTEN_ROWS = 20_000  # limit for the rows that wait while the file cannot be written
MAX_LABELS = 1000  # limit for pairs of key and model in the metrics
FAILURES = (OSError, sqlite3.Error, ConfigError)


class Ledger:
    """Writes the rows in `sums`, which all processes fill, to the file. `run_round` waits after a failure."""

    def __init__(
        self, path: Path, sums: UsageSums, retention_days: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.sums = sums
        self.problem = ""  # why the file cannot be written; "" if it can
        self.failures = 0  # writes that failed
        self.totals: dict[tuple[str, str], UsageEntry] = {}  # key and model -> what they have used since the start
        self._highest: dict[tuple[str, str, str], int] = {}  # key, model, kind -> highest total that was returned
        self._file = usage_file.UsageFile(path)
        self._path = path
        self._retention_seconds = retention_days * DAY_SECONDS
        self._clock = clock
        self._writer, self._reader = NativeThread(), NativeThread()
        self._lock = threading.Lock()  # held while rows are written
        self._unwritten: dict[int, UsageSums] = {}  # hour -> rows that are not in the file yet
        self._recent: deque[tuple[float, dict[tuple[str, str], UsageRow]]] = deque()  # the steps of the last minute
        self._retried_requests = 0  # requests in rows that could not be written, and are being written again now
        self._hour = 0
        self._hour_rows: set[int] = set()  # hashes of the rows of this hour
        self._condensed_hour = 0  # the hour in which old hours were condensed last
        self._next_try = 0.0

    def run_round(self) -> float:
        """Write what is new; return the seconds until the next round."""
        now = self._clock()
        self._collect(now)
        if not 0 < self._next_try - now <= RETRY_INTERVAL_SECONDS:  # the machine's clock may have been set back
            self.flush()
        return WRITE_INTERVAL_SECONDS

    def flush(self) -> None:
        """Write all rows now. A failure is logged once, and the rows stay in memory."""
        with self._lock:
            now = self._clock()
            self._collect(now)
            batch, self._unwritten = self._unwritten, {}
            self._retried_requests = sum(map(UsageSums.requests, batch.values())) if self.problem else 0
            entries = [_at(hour, entry) for hour, sums in batch.items() for entry in sums.take()]
            try:
                if entries:
                    self._writer.run(partial(self._file.add, entries))
                    entries = []
                if self._condensed_hour != self._hour:
                    self._writer.run(partial(self._file.condense, now - self._retention_seconds))
                    self._condensed_hour = self._hour
            except FAILURES as error:
                self._note_failure(error, now)
                self._keep(entries)
            else:
                self._note_success()
            self._retried_requests = 0

    def stop(self) -> None:
        """Write the last rows and close the file."""
        self.flush()
        if self._unwritten:
            requests = self.unwritten_requests()
            log.error("%s; the usage of %d requests is lost", self.problem, requests)
        self._writer.run(self._file.close)

    def unwritten_requests(self) -> int:
        """Return the number of requests whose rows wait for the file, with those that are being tried again now."""
        return self._retried_requests + sum(sums.requests() for sums in self._unwritten.values())

    def read(self, by: Sequence[str], since: float, until: float) -> bytes:
        """Return sums by these dimensions as a JSON list of UsageRow, with all that has been counted until now.

        Raise Unavailable if the file cannot be read.
        """
        self.flush()
        try:
            return self._reader.run(partial(usage_file.read, self._path, by, since, until))
        except FAILURES as error:
            raise Unavailable(f"{self._path}: cannot read the usage: {error}") from None

    def highest(self, key: str, model: str, kind: str) -> int:
        """Return the total, or the highest that was returned before: the end of a stream may lower its estimates."""
        place = (key, model, kind)
        total = self._highest[place] = max(self._highest.get(place, 0), getattr(self.totals[key, model], kind))
        return total

    def recent(self) -> list[UsageRow]:
        """Return what each key and user has used in the last minute, the one with the most tokens first."""
        sums: dict[tuple[str, str], UsageRow] = {}
        for _, rows in self._recent:
            for row in rows.values():
                total = sums.setdefault((row.key, row.user), UsageRow(key=row.key, user=row.user))
                total.add(row)
        return sorted(sums.values(), key=lambda row: (-row.prompt - row.completion, -row.requests))[:MAX_RECENT_ROWS]

    def _collect(self, now: float) -> None:
        """Take the new rows, and add them to those of this hour that are not written yet."""
        hour = int(now // HOUR_SECONDS) * HOUR_SECONDS
        if hour != self._hour:
            self._hour, self._hour_rows = hour, set()
        while self._recent and not now - RECENT_SECONDS < self._recent[0][0] <= now:
            self._recent.popleft()
        entries = self.sums.take()
        if not entries:
            return
        self._add_recent(now, entries)
        for entry in entries:
            self._add_total(entry)
        self._unwritten_of(hour).add([self._limited(entry) for entry in entries])

    def _limited(self, entry: UsageEntry) -> UsageEntry:
        """Return the row; if this hour has too many rows, return it for the user OTHER."""
        place = hash((entry.key, entry.user, entry.model))
        if place in self._hour_rows:
            return entry
        if len(self._hour_rows) < MAX_HOUR_ROWS:
            self._hour_rows.add(place)
            return entry
        if len(self._hour_rows) == MAX_HOUR_ROWS:
            self._hour_rows.add(hash(OTHER))
            log.warning("over %d users and models in this hour: others are counted for %s", MAX_HOUR_ROWS, OTHER)
        return msgspec.structs.replace(entry, user=OTHER)

    def _add_recent(self, now: float, entries: list[UsageEntry]) -> None:
        if not self._recent or self._recent[-1][0] <= now - RECENT_STEP_SECONDS:
            self._recent.append((now, {}))
        rows = self._recent[-1][1]
        for entry in entries:
            place = (entry.key, entry.user)
            if place not in rows and len(rows) >= MAX_RECENT_ROWS:
                place = (OTHER, OTHER)
            row = rows.setdefault(place, UsageRow(key=place[0], user=place[1]))
            row.add(entry)

    def _add_total(self, entry: UsageEntry) -> None:
        place = (entry.key, entry.model)
        if place not in self.totals and len(self.totals) >= MAX_LABELS:
            place = (OTHER, OTHER)
        self.totals.setdefault(place, UsageEntry(0, place[0], "", place[1])).add(entry)

    def _keep(self, entries: list[UsageEntry]) -> None:
        for entry in entries:
            self._unwritten_of(entry.time).add([entry])

    def _unwritten_of(self, hour: int) -> UsageSums:
        """Return the unwritten rows of an hour. All hours together have a limited number of rows for users."""
        if hour not in self._unwritten:
            others = sum(map(len, self._unwritten.values()))
            self._unwritten[hour] = UsageSums(max(1, MAX_UNWRITTEN_ROWS - others))
        return self._unwritten[hour]

    def _note_failure(self, error: Exception, now: float) -> None:
        reason = self._file.reason(error)
        if not self.problem:
            log.error("%s; the router goes on and keeps its counts in memory", reason)
        self.problem = reason
        self.failures += 1
        self._next_try = now + RETRY_INTERVAL_SECONDS

    def _note_success(self) -> None:
        if self.problem:
            log.info("%s: the usage is written again", self._path)
        self.problem = ""
        self._next_try = 0.0


def _at(hour: int, entry: UsageEntry) -> UsageEntry:
    entry.time = hour
    return entry
