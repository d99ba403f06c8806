"""`svc status --watch` on a site that changes."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.sites import BIN, clean_environ

SLOW = 10.0  # seconds


@contextmanager
def watching(site: Any, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = site.start("svc", "status", "--watch", *words)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def health(told: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["health"] for row in told["programs"]}


def until_line(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first of its lines of JSON that is `wanted`."""
    for line in process.stdout:
        told = json.loads(line)
        if wanted(told):
            return told
    raise AssertionError("it ended")


def until_table(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> None:
    """Reads tables, until in one the instance's row is `wanted`."""
    for line in process.stdout:
        if line.startswith("one:server") and wanted(line):
            return
    raise AssertionError("it ended")


def test_each_change_is_a_report_soon_after_it_came(site):
    site.mock("one")
    site.svc("up")
    with watching(site, "--json") as process, watching(site) as tables:
        until_line(process, lambda told: told["ok"])
        began = time.monotonic()
        site.svc("drain", "one")
        told = until_line(process, lambda told: health(told)["one:server"] == "drained")
        assert time.monotonic() - began < 2
        assert told["problems"] == ["one:server: drained"]
        site.svc("undrain", "one")
        until_line(process, lambda told: told["ok"])
        for word in ("healthy", "drained", "healthy"):
            until_table(tables, lambda row, word=word: word in row)
        process.send_signal(signal.SIGINT)
        assert process.wait(SLOW) == 130
        assert process.stderr.read() == ""


def test_on_a_terminal_the_table_changes_in_place_and_ctrl_c_leaves_it_in_order(site):
    site.mock("one")
    site.svc("up")
    ours, theirs = pty.openpty()
    environ = clean_environ() | {"TERM": "xterm", "COLUMNS": "100"}
    words = [str(BIN / "svc"), "status", "--watch"]
    process = subprocess.Popen(words, cwd=Path(site.root), env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        _read(ours, "one:server")
        site.svc("drain", "one")
        told = _read(ours, "drained")
        assert "\x1b[1A" in told, "the cursor goes up to write over what was there"
        process.send_signal(signal.SIGTERM)
        assert "\x1b[?25h" in _read(ours, "\x1b[?25h"), "the cursor is shown again"
        assert process.wait(SLOW) == 130
    finally:
        process.kill()
        process.wait(SLOW)
        os.close(ours)


def _read(descriptor: int, wanted: str) -> str:
    """What the terminal shows, until that is in it."""
    told, end = "", time.monotonic() + SLOW
    while wanted not in told:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no {wanted!r} in {told!r}"
        told += os.read(descriptor, 65536).decode()
    return told
