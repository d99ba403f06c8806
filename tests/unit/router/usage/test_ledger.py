import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from svc.protocol.usage import OTHER, UsageRow
from svc.router.usage import ledger as ledger_module
from svc.router.usage.ledger import RETRY_INTERVAL_SECONDS, Ledger
from svc.router.usage.usage_file import UsageFile, read_rows
from svc.router.usage.usage_sums import UsageSums

NOON = 1_800_000_000 // 3600 * 3600


class Clock:
    """A clock that the test sets."""

    now = NOON + 100.0

    def __call__(self) -> float:
        return self.now


class Disk:
    """Refuses all writes of the ledger while `error` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.on_write: Callable[[], object] = lambda: None
        add = UsageFile.add

        def add_or_fail(file: UsageFile, entries: list[object]) -> None:
            self.on_write()
            if self.error is not None:
                raise self.error
            add(file, entries)  # type: ignore[arg-type]

        monkeypatch.setattr(UsageFile, "add", add_or_fail)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / "usage.db", UsageSums(), 400, clock)


def use(ledger: Ledger, user: str = "", key: str = "ci", model: str = "m", tokens: int = 10) -> None:
    row = ledger.sums.row(key, user, model)
    row.requests += 1
    row.completion += tokens


def rows(ledger: Ledger, *by: str) -> list[UsageRow]:
    return msgspec.json.decode(ledger.read(by, 0, 2**40), type=list[UsageRow])


def test_what_is_counted_is_in_the_file_after_a_round(ledger: Ledger, tmp_path: Path):
    use(ledger)
    ledger.run_round()
    assert read_rows(tmp_path / "usage.db", ("key",), 0, 2**40)[0].requests == 1


def test_a_reader_sees_what_was_counted_until_now(ledger: Ledger):
    use(ledger)
    assert [row.requests for row in rows(ledger)] == [1]
    assert rows(ledger)[0].completion == 10


def test_each_hour_has_rows_of_its_own(ledger: Ledger, clock: Clock):
    use(ledger)
    ledger.run_round()
    clock.now += 3600
    use(ledger)
    assert len(rows(ledger, "hour")) == 2


def test_a_full_disk_costs_no_line_and_one_log_line(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    disk = Disk(monkeypatch)
    disk.error = sqlite3.OperationalError("database or disk is full")
    for _ in range(3):
        use(ledger)
        ledger.run_round()
        clock.now += RETRY_INTERVAL_SECONDS
    assert "its disk is full; make room there" in ledger.problem
    assert (ledger.failures, ledger.unwritten_requests()) == (3, 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    disk.error = None
    use(ledger)
    ledger.run_round()
    assert (ledger.problem, ledger.unwritten_requests()) == ("", 0)
    assert rows(ledger)[0].requests == 4


def test_after_a_failure_the_file_is_left_alone_for_a_while(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    disk = Disk(monkeypatch)
    disk.error = OSError(5, "Input/output error")
    for _ in range(5):
        use(ledger)
        ledger.run_round()
        clock.now += 0.5
    assert (ledger.failures, ledger.unwritten_requests()) == (1, 5)


def test_rows_that_are_tried_again_still_count_as_unwritten(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """If they did not, the metric would be zero at each try, and an alert on it would begin anew."""
    disk = Disk(monkeypatch)
    disk.error = OSError(28, "No space left on device")
    use(ledger)
    ledger.run_round()
    during: list[int] = []
    disk.on_write = lambda: during.append(ledger.unwritten_requests())
    clock.now += RETRY_INTERVAL_SECONDS
    use(ledger)
    ledger.run_round()
    assert (during, ledger.unwritten_requests()) == ([2], 2)
    disk.error = None
    clock.now += RETRY_INTERVAL_SECONDS
    ledger.run_round()
    assert (during, ledger.unwritten_requests()) == ([2, 2], 0)


def test_rows_of_hours_that_cannot_be_written_keep_their_hour(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    disk = Disk(monkeypatch)
    disk.error = OSError(28, "No space left on device")
    for _ in range(3):
        use(ledger)
        ledger.run_round()
        clock.now += 3600
    disk.error = None
    assert [row.requests for row in rows(ledger, "hour")] == [1, 1, 1]


def test_unwritten_rows_are_limited(ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_module, "MAX_UNWRITTEN_ROWS", 10)
    disk = Disk(monkeypatch)
    disk.error = OSError(28, "No space left on device")
    for hour in range(4):
        for user in range(20):
            use(ledger, f"{hour}.{user}")
        ledger.run_round()
        clock.now += 3600
    disk.error = None
    counted = {row.user: row.requests for row in rows(ledger, "user")}
    assert sum(counted.values()) == 80
    assert counted[OTHER] > 60
    assert len(counted) < 20


def test_an_hour_has_a_limited_number_of_users(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(ledger_module, "MAX_HOUR_ROWS", 2)
    for user in ("a", "b", "c", "d", "a"):
        use(ledger, user)
        ledger.run_round()
    assert {row.user: row.requests for row in rows(ledger, "user")} == {"a": 2, "b": 1, OTHER: 2}
    assert caplog.text.count("over 2 users and models in this hour") == 1
    clock.now += 3600
    use(ledger, "c")
    assert {row.user for row in rows(ledger, "user")} == {"a", "b", "c", OTHER}


def test_the_last_minute_shows_who_uses_most_now(ledger: Ledger, clock: Clock):
    use(ledger, "alice", tokens=5)
    ledger.run_round()
    clock.now += 30
    use(ledger, "bob", tokens=50)
    use(ledger, "alice", tokens=5)
    ledger.run_round()
    assert [(row.key, row.user, row.requests, row.completion) for row in ledger.recent()] == [
        ("ci", "bob", 1, 50),
        ("ci", "alice", 2, 10),
    ]
    clock.now += 31
    ledger.run_round()
    assert [(row.user, row.completion) for row in ledger.recent()] == [("bob", 50), ("alice", 5)]
    clock.now += 30
    ledger.run_round()
    assert ledger.recent() == []


def test_totals_by_key_and_model_are_limited(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_module, "MAX_LABELS", 2)
    for key in ("a", "b", "c", "d"):
        use(ledger, "u", key)
    ledger.run_round()
    assert {place: total.requests for place, total in ledger.totals.items()} == {
        ("a", "m"): 1,
        ("b", "m"): 1,
        (OTHER, OTHER): 2,
    }


def test_a_ledger_that_stops_has_written_everything(ledger: Ledger, tmp_path: Path):
    use(ledger)
    ledger.stop()
    assert read_rows(tmp_path / "usage.db", (), 0, 2**40)[0].requests == 1


def test_a_ledger_that_stops_without_its_file_reports_what_is_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    Disk(monkeypatch).error = OSError(28, "No space left on device")
    use(ledger)
    ledger.stop()
    assert "the usage of 1 requests is lost" in caplog.text


def test_a_clock_that_is_set_back_neither_stops_the_writes_nor_fills_the_memory(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    disk = Disk(monkeypatch)
    disk.error = OSError("no")
    use(ledger)
    ledger.run_round()
    disk.error = None
    clock.now -= 86400
    use(ledger)
    ledger.run_round()
    assert ledger.problem == ""
    assert [row.requests for row in ledger.recent()] == [1]
