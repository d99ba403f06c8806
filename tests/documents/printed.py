"""Is what a document shows what was printed? Numbers may differ, and spaces; `...` stands for anything."""

import re


def lacking(shown: str, said: str) -> str:
    """The first line of `shown` that was not printed after those before it; empty where all were."""
    left = [_plain(line) for line in said.splitlines()]
    for line in shown.splitlines():
        pattern = re.compile(re.sub(r"(\\ )?\\\.\\\.\\\.(\\ )?", ".*", re.escape(_plain(line))))
        while left and not pattern.fullmatch(left[0]):
            left.pop(0)
        if not left:
            return line
        left.pop(0)
    return ""


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", line).split())
