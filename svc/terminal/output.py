"""What commands print. Everything goes through here or through `console`, which escape control characters."""

import json
import os
import sys
from collections.abc import Iterable
from typing import IO, Any

import click

from svc.base.errors import CommandError
from svc.base.printable import escaped_json, log_lines, printable

MAX_LINE_BYTES = 1 << 16  # of a line that has no end yet


def echo(text: str, err: bool = False) -> None:
    """Print one line to stdout, or to stderr; a line break inside the text is shown, not made."""
    click.echo(printable(text, keep="\t"), err=err)


def echo_block(text: str) -> None:
    """Print a text of several lines, each with its own end."""
    click.echo(printable(text, keep="\n\t"), nl=False)


def echo_json(value: Any, indent: int | None = None) -> None:
    """Print a JSON document; its escapes keep what it says, whatever characters that has.

    Raises CommandError for NaN and Infinity.
    """
    try:
        document = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        raise CommandError("the answer has a number that JSON does not have (NaN, Infinity)") from None
    click.echo(escaped_json(document))


class LogOutput:
    """Where lines of logs are shown: stdout, or `out`. Colours that are in them stay only on a terminal."""

    def __init__(self, out: IO[bytes] | None = None, colours: bool | None = None) -> None:
        self._out = out or sys.stdout.buffer
        self.colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") if colours is None else colours

    def write(self, lines: Iterable[bytes], prefix: str = "") -> None:
        """Write the lines as they are safe to print, each behind the prefix."""
        shown = [f"{prefix}{text}\n" for line in lines for text in log_lines(line, self.colours)]
        if shown:
            self._out.write("".join(shown).encode(errors="replace"))
            self._out.flush()


class LogStream:
    """Shows the output of a program as it comes, line by line."""

    def __init__(self, output: LogOutput) -> None:
        self._output = output
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Write the lines that have ended. The rest waits: half a sequence is none that can be judged."""
        *lines, rest = (self._rest + data).split(b"\n")
        states, _, last = rest.rpartition(b"\r")
        if states and last:  # of a progress bar, which has no line break before its end
            lines, rest = [*lines, states], last
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        self._output.write(lines)

    def end(self) -> None:
        """Write the last line where it has no end."""
        rest, self._rest = self._rest, b""
        self._output.write([rest] if rest else [])
