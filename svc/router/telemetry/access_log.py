"""What is told of every relayed request once it has ended: a line in the access log, and its share in the metrics."""

import logging
import os
import re
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from typing import IO

import msgspec

from svc.base.printable import escaped_json
from svc.base.private_files import append
from svc.protocol.service import iso

log = logging.getLogger(__name__)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
TAIL = 1024  # bytes of an answer's end in which its usage stands
USAGE = re.compile(rb'"(prompt_tokens|completion_tokens|input_tokens|output_tokens|cached_tokens)" ?: ?(\d{1,12})')
KINDS = {
    b"prompt_tokens": "prompt",
    b"input_tokens": "prompt",  # Anthropic's, and Responses'
    b"completion_tokens": "completion",
    b"output_tokens": "completion",
    b"cached_tokens": "cached",
}
LONGEST_KIND = 1 + max(map(len, KINDS))  # with its quotation mark
UNKNOWN = "unknown"  # the label of models that nobody has: what clients may invent is none
PLAIN = re.compile(r"[!#-~]+")  # what stands in a line of text as it is
BUFFER = 64 << 10


class RequestRecord(msgspec.Struct, kw_only=True, gc=False):
    """One relayed request. Times are seconds since it was read; `first_byte` is None where no answer began."""

    time: str = ""
    id: str
    client: str
    key: str
    method: str
    path: str
    model: str
    instance: str
    status: int
    bytes: int
    first_byte: float | None
    duration: float
    attempts: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    end: str  # done, refused, failed, cut, timeout, client or stopping


class Histogram:
    """Counts by bucket; Prometheus' sums are made when it asks."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class ModelStatistics:
    """The metrics of one model."""

    __slots__ = ("broken", "duration", "failures", "first_byte", "produced", "statuses", "token", "tokens")

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.failures: defaultdict[str, int] = defaultdict(int)  # those that did not end well, by how they ended
        self.broken: defaultdict[str, int] = defaultdict(int)  # of those, the ones whose status told nothing of it
        self.tokens: defaultdict[str, int] = defaultdict(int)
        self.produced = 0  # tokens, also of streams without usage: those by their events
        self.duration = Histogram(SECONDS)
        self.first_byte = Histogram(SECONDS)  # of streams: the time to the first token
        self.token = Histogram(TOKEN_SECONDS)  # of streams: the time for each token after it


class RequestRecorder:
    """`ended` for every request; `flush` ten times a second writes the lines that have gathered."""

    def __init__(self, path: str, text: bool = False) -> None:
        self.meters: defaultdict[str, ModelStatistics] = defaultdict(ModelStatistics)
        self.keys: defaultdict[str, int] = defaultdict(int)  # requests by name of key
        self._log = AccessLog(path, text) if path else None

    def ended(self, record: RequestRecord, first_token: float | None, tail: bytes, label: str) -> None:
        """Count a request, and write its line.

        `first_token`: seconds until that of a stream; `tail`: the parts of the answer where its usage stands;
        `label`: of its model.
        """
        meter = self.meters[label]
        meter.statuses[record.status] += 1
        meter.duration.observe(record.duration)
        if record.end != "done":
            meter.failures[record.end] += 1
            if record.status < 400:
                meter.broken[record.end] += 1
        if record.key:
            self.keys[record.key] += 1
        if (found := tail.find(b"_tokens")) >= 0:
            self._usage(meter, record, USAGE.findall(tail, max(0, found - LONGEST_KIND)))
        if first_token is not None and record.completion_tokens and record.completion_tokens > 1:
            meter.token.observe((record.duration - first_token) / (record.completion_tokens - 1))
        if self._log is not None:
            self._log.add(record)

    def _usage(self, meter: ModelStatistics, record: RequestRecord, told: list[tuple[bytes, bytes]]) -> None:
        used = {KINDS[name]: int(count) for name, count in told}
        if used:
            record.prompt_tokens = used.get("prompt")
            record.completion_tokens = used.get("completion")
            for kind, count in used.items():
                meter.tokens[kind] += count

    def flush(self) -> None:
        if self._log is not None:
            self._log.flush()


class AccessLog:
    """One line a request, JSON or text. A file that was moved away (logrotate) is opened anew."""

    def __init__(self, path: str, text: bool) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._write = _text if text else msgspec.json.Encoder().encode
        self._file: IO[bytes] | None = None
        self._failing = False
        self._time = iso(time.time())  # as of the last flush: writing it down costs more than all the rest

    def add(self, record: RequestRecord) -> None:
        record.time = self._time
        record.duration = round(record.duration, 6)
        if record.first_byte is not None:
            record.first_byte = round(record.first_byte, 6)
        self._lines.append(self._write(record))

    def flush(self) -> None:
        self._time = iso(time.time())
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            file = self._opened()
            file.write(_safe(b"\n".join((*lines, b""))))
            file.flush()
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("%s: cannot write the access log: %s; lines are lost", self._path, error.strerror)
            self._failing = True
            self._file = None

    def _opened(self) -> IO[bytes]:
        if self._path == "-":
            return sys.stdout.buffer
        if self._file is not None and _same(self._file, self._path):
            return self._file
        self._file = append(self._path, BUFFER)
        return self._file


def _same(file: IO[bytes], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _safe(lines: bytes) -> bytes:
    """Return the lines with escapes in place of what a terminal would obey: such characters stand in strings only."""
    if lines.isascii() and b"\x7f" not in lines:  # JSON has escaped the other controls
        return lines
    return escaped_json(lines.decode(errors="replace")).encode()


def _text(record: RequestRecord) -> bytes:
    return " ".join([_word(getattr(record, name)) for name in record.__struct_fields__]).encode()


def _word(value: str | float | None) -> str:
    """One word for each field, whatever a client called its model."""
    if isinstance(value, str):
        quoted = value and not PLAIN.fullmatch(value)
        return msgspec.json.encode(value).decode().replace(" ", "\\u0020") if quoted else value or "-"
    return "-" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
