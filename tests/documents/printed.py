"""Compare the output that a document shows with the real one. Numbers and spaces may differ; `...` matches any text."""

import re


def first_missing_line(shown: str, output: str) -> str:
    """Return the first line of `shown` that the output lacks after the lines before it; "" where it has all."""
    remaining = [_plain(line) for line in output.splitlines()]
    for line in shown.splitlines():
        pattern = re.compile(re.sub(r"(\\ )?\\\.\\\.\\\.(\\ )?", ".*", re.escape(_plain(line))))
        while remaining and not pattern.fullmatch(remaining[0]):
            remaining.pop(0)
        if not remaining:
            return line
        remaining.pop(0)
    return ""


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", line).split())
