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

TIMEOUT_SECONDS = 10.0


@contextmanager
def watching(site: Any, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = site.start("svc", "status", "--watch", *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def health(report: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["health"] for row in report["programs"]}


def until_line(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first line of JSON that is `wanted`."""
    for line in process.stdout:
        report = json.loads(line)
        if wanted(report):
            return report
    raise AssertionError("it ended")


def until_table(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> None:
    """Read tables until the row of the instance is `wanted`."""
    for line in process.stdout:
        if line.startswith("one:server") and wanted(line):
            return
    raise AssertionError("it ended")


def test_each_change_is_reported_soon(site):
    site.mock("one")
    site.svc("up")
    with watching(site, "--json") as process, watching(site) as tables:
        until_line(process, lambda report: report["ok"])
        until_table(tables, lambda row: "healthy" in row)  # before the drain, which it would otherwise start with
        began = time.monotonic()
        site.svc("drain", "one")
        drain_seconds = time.monotonic() - began
        report = until_line(process, lambda report: health(report)["one:server"] == "drained")
        assert time.monotonic() - began < max(2, 3 * drain_seconds), "a busy machine delays the command too"
        assert report["problems"] == ["one:server: drained"]
        site.svc("undrain", "one")
        until_line(process, lambda report: report["ok"])
        for state in ("drained", "healthy"):
            until_table(tables, lambda row, state=state: state in row)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 130
        assert process.stderr.read() == ""


def test_on_a_terminal_the_table_changes_in_place_until_a_signal(site):
    site.mock("one")
    site.svc("up")
    ours, theirs = pty.openpty()
    environ = clean_environ() | {"TERM": "xterm", "COLUMNS": "100"}
    command = [str(BIN / "svc"), "status", "--watch"]
    process = subprocess.Popen(command, cwd=Path(site.root), env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        _read(ours, "one:server")
        site.svc("drain", "one")
        output = _read(ours, "drained")
        assert "\x1b[1A" in output, "the cursor goes up to overwrite the table"
        process.send_signal(signal.SIGTERM)
        assert "\x1b[?25h" in _read(ours, "\x1b[?25h"), "the cursor is shown again"
        assert process.wait(TIMEOUT_SECONDS) == 130
    finally:
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        os.close(ours)


def _read(descriptor: int, wanted: str) -> str:
    """Return what the terminal shows until `wanted` is in it."""
    output, end = "", time.monotonic() + TIMEOUT_SECONDS
    while wanted not in output:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no {wanted!r} in {output!r}"
        output += os.read(descriptor, 65536).decode()
    return output
