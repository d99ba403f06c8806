import pytest

from svc.protocol.usage import OTHER, UsageRow
from svc.terminal.usage_table import has_others, usage_csv, usage_lines

ROWS = [
    UsageRow(key="chat", requests=1200, failed=3, prompt=100_000, cached=40_000, completion=50_000, stream_seconds=90),
    UsageRow(key="", requests=1, prompt=10, completion=10, estimated=5, queue_seconds=7200.4),
]


def test_a_table_has_a_head_rows_and_their_total():
    assert list(usage_lines(ROWS, ("key",))) == [
        "KEY    REQUESTS  FAILED   PROMPT  CACHED  COMPLETION  ESTIMATED  STREAMED  QUEUED",
        "chat      1,200       3  100,000  40,000      50,000          -     1m30s      0s",
        "-             1       0       10       0          10        25%        0s    2h0m",
        "total     1,201       3  100,010  40,000      50,010         0%     1m30s    2h0m",
    ]


def test_one_row_needs_no_total():
    assert len(list(usage_lines(ROWS[:1], ("key",)))) == 2


def test_csv_has_exact_numbers_and_no_formulas():
    rows = [UsageRow(user='=HYPERLINK("x")', requests=2, stream_seconds=1.23456)]
    head, line = usage_csv(rows, ("user",)).splitlines()
    assert head == "user,requests,failed,prompt,cached,completion,estimated,stream_seconds,queue_seconds"
    assert line == '"\'=HYPERLINK(""x"")",2,0,0,0,0,0,1.235,0.0'


@pytest.mark.parametrize("start", "=+-@\uff1d\uff0b\uff0d\uff20")
def test_no_spreadsheet_takes_a_user_for_a_formula(start: str):
    assert usage_csv([UsageRow(user=f"{start}1+1")], ("user",)).splitlines()[1].startswith(f"'{start}1+1,")


def test_rows_of_many_are_recognized():
    assert has_others([UsageRow(user=OTHER)])
    assert not has_others(ROWS)
