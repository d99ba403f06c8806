"""The access log: one line for each relayed request once it has ended, as JSON or text."""

import logging
import os
import re
import select
import sys
import time
from collections.abc import Iterator
from typing import IO

import msgspec

from svc.base.printable import escaped_json
from svc.base.private_files import append
from svc.protocol.service import iso
from svc.router.telemetry.statistics import RequestRecord

log = logging.getLogger(__name__)

UNQUOTED = re.compile(r"[!#-~]+")  # a field that needs no quotation marks in a line of text
FILE_BUFFER_BYTES = 64 << 10


class AccessLog:
    """The access log: it collects lines, and `flush`, called ten times a second, writes them.

    If the file was moved away (logrotate), a new file is opened.
    """

    def __init__(self, path: str, text: bool) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._format = _text_line if text else msgspec.json.Encoder().encode
        self._file: IO[bytes] | None = None
        self._failing = False
        self._time = iso(time.time())  # the time of the last flush: to format a time costs more than the rest of a line

    def add(self, record: RequestRecord) -> None:
        record.time = self._time
        record.duration = round(record.duration, 6)
        if record.first_byte is not None:
            record.first_byte = round(record.first_byte, 6)
        self._lines.append(self._format(record))

    def flush(self) -> None:
        self._time = iso(time.time())
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            file, data = self._open_file(), _escape_controls(b"\n".join((*lines, b"")))
            for part in _parts(data) if self._path == "-" else (data,):
                file.write(part)
                file.flush()
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("%s: cannot write the access log: %s; lines are lost", self._path, error.strerror)
            self._failing = True
            self._file = None

    def _open_file(self) -> IO[bytes]:
        if self._path == "-":
            return sys.stdout.buffer
        if self._file is not None and _is_at(self._file, self._path):
            return self._file
        self._file = append(self._path, FILE_BUFFER_BYTES)
        return self._file


def _is_at(file: IO[bytes], path: str) -> bool:
    """Return whether the open file is still the file at this path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _parts(data: bytes) -> Iterator[bytes]:
    """Divide lines into parts that a pipe takes whole, so that lines of other processes cannot get into them.

    Only a single line that is longer than PIPE_BUF is not safe.
    """
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or data.find(b"\n", start) + 1
        yield data[start:end]
        start = end


def _escape_controls(lines: bytes) -> bytes:
    """Return the lines with the control characters of terminals escaped. These occur only in quoted strings."""
    if lines.isascii() and b"\x7f" not in lines:  # JSON has escaped the other control characters
        return lines
    return escaped_json(lines.decode(errors="replace")).encode()


def _text_line(record: RequestRecord) -> bytes:
    return " ".join([_text_field(getattr(record, name)) for name in record.__struct_fields__]).encode()


def _text_field(value: str | float | tuple[str, ...] | msgspec.UnsetType | None) -> str:
    """Return a field as text without spaces, even if the client sent a model name with spaces."""
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, str):
        quoted = value and not UNQUOTED.fullmatch(value)
        return msgspec.json.encode(value).decode().replace(" ", "\\u0020") if quoted else value or "-"
    return (
        "-" if value is None or value is msgspec.UNSET else f"{value:.6f}" if isinstance(value, float) else str(value)
    )
