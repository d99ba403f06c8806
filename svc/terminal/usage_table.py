"""Formats what keys, users and models have used as a table or as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence

from svc.protocol.usage import COUNT_NAMES, OTHER, UsageCounts, UsageRow, as_dict, total_of
from svc.terminal.table import COLUMN_GAP, duration

HEAD = ("REQUESTS", "FAILED", "PROMPT", "CACHED", "COMPLETION", "ESTIMATED", "STREAMED", "QUEUED")
TOTAL = "total"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # \uff..: full-width forms
NOBODY = "-"  # shown instead of an empty key, user or model


def usage_lines(rows: Sequence[UsageRow], by: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table: a head, the rows, and their total if there are several."""
    head = [*(name.upper() for name in by), *HEAD]
    cells = [[*(getattr(row, name) or NOBODY for name in by), *_counts(row)] for row in rows]
    if len(rows) > 1 and by:
        cells.append([TOTAL, *("" for _ in by[1:]), *_counts(total_of(rows))])
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in (head, *cells):
        texts = [
            f"{cell:{width}}" if at < len(by) else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield COLUMN_GAP.join(texts).rstrip()


def usage_csv(rows: Sequence[UsageRow], by: Sequence[str]) -> str:
    """Return the rows as CSV with a head. No spreadsheet executes a name as a formula (see `_harmless`)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*by, *COUNT_NAMES])
    for row in rows:
        writer.writerow([_harmless(value) for value in as_dict(row, by).values()])
    return text.getvalue()


def has_others(rows: Sequence[UsageRow]) -> bool:
    """Return whether a row counts several users or models together, because there were too many of them."""
    return any(OTHER in (row.key, row.user, row.model) for row in rows)


def _counts(row: UsageCounts) -> list[str]:
    tokens = row.prompt + row.completion
    return [
        *(f"{count:,}" for count in (row.requests, row.failed, row.prompt, row.cached, row.completion)),
        f"{row.estimated / tokens:.0%}" if row.estimated and tokens else NOBODY,
        duration(round(row.stream_seconds)),
        duration(round(row.queue_seconds)),
    ]


def _harmless(value: object) -> object:
    """Return the value for CSV. A text that begins like a formula gets an apostrophe: users choose their own names."""
    if isinstance(value, float):
        return round(value, 3)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
