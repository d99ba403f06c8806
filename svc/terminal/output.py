"""The output of commands. All of it passes through this module or `console`, because both escape control characters."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

from svc.base.errors import CommandError
from svc.base.printable import RESET, escaped_json, log_lines, printable

MAX_LINE_BYTES = 1 << 16  # an unfinished line that is longer than this is written at once
PREFIX_COLOURS = (36, 33, 32, 35, 34, 31)  # ANSI colours of program names on a terminal


def echo(text: str, err: bool = False) -> None:
    """Print one line to stdout, or to stderr; a line break inside the text is shown as a visible character."""
    click.echo(printable(text, keep="\t"), err=err)


def echo_block(text: str) -> None:
    """Print a text of several lines, which contains its own line breaks."""
    click.echo(printable(text, keep="\n\t"), nl=False)


def echo_json(value: Any, indent: int | None = None) -> None:
    """Print a JSON document, with control characters as JSON escapes.

    Raise CommandError for NaN and Infinity.
    """
    try:
        document = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        raise CommandError("the answer has a number that JSON does not have (NaN, Infinity)") from None
    click.echo(escaped_json(document))


class LogOutput:
    """Writes log lines to stdout, or to `out`. Colours in the lines are kept only on a terminal."""

    def __init__(self, out: IO[bytes] | None = None, colours: bool | None = None) -> None:
        self._out = out or sys.stdout.buffer
        self.colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") if colours is None else colours

    def write(self, lines: Iterable[bytes], prefix: str = "") -> None:
        """Write each line after the prefix, with control characters escaped."""
        texts = [f"{prefix}{text}\n" for line in lines for text in log_lines(line, self.colours)]
        if texts:
            self._out.write("".join(texts).encode(errors="replace"))
            self._out.flush()


class LogPrinter:
    """Writes log lines of several programs. With `prefixed`, each line begins with the name of its program."""

    def __init__(self, output: LogOutput, prefixed: bool) -> None:
        self.output = output
        self.prefixed = prefixed
        self.names: list[str] = []

    def write(self, name: str, lines: Sequence[bytes]) -> None:
        """Write the lines of one program."""
        if lines:
            self.output.write(lines, self._prefix(name) if self.prefixed else "")

    def _prefix(self, name: str) -> str:
        if name not in self.names:
            self.names.append(name)
        colour = PREFIX_COLOURS[self.names.index(name) % len(PREFIX_COLOURS)]
        return f"\x1b[{colour}m{name} |{RESET} " if self.output.colours else f"{name} | "


class LogStream:
    """Writes the output of a program line by line, as it arrives."""

    def __init__(self, output: LogOutput) -> None:
        self._output = output
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Write the complete lines in `data`. Keep the rest, because it may end within an escape sequence."""
        *lines, rest = (self._rest + data).split(b"\n")
        updates, _, last = rest.rpartition(b"\r")
        if updates and last:  # a progress bar sends no line break before its end: write its updates now
            lines, rest = [*lines, updates], last
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        self._output.write(lines)

    def end(self) -> None:
        """Write the last line even though it has no line break."""
        rest, self._rest = self._rest, b""
        self._output.write([rest] if rest else [])
