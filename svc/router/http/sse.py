"""Boundaries of server-sent events (the HTML standard, 9.2.6). Pure.

An event ends with an empty line, and a line ends with CR LF, LF or CR. So two line ends in a row end an event. CR LF is
one line end, not two, so the pairs are LF LF, LF CR and CR CR; a LF after the last CR of a pair belongs to that CR.
"""

import re

EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
CHUNK_ENDS = (b"\n\n\r\n", b"\r\n\r\n\r\n")  # the usual event ends, at the end of an HTTP chunk
PAIRS = (b"\n\n", b"\n\r", b"\r\r")
OVERLAP_BYTES = 2  # the last bytes of searched data are searched again: the end of an event may begin there
EVENT_END = re.compile(rb"\n\n|\n\r\n?|\r\r\n?")


def last_end(data: bytes | bytearray, start: int = 0) -> int:
    """Return the position after the last whole event in `data`, searched from `start` on; 0 if there is none.

    CR LF CR at the end of `data` counts as the beginning of CR LF CR LF. Any other CR ends its line without waiting
    for an LF, because a stream whose lines end in CR alone has none.
    """
    stop = len(data) - data.endswith(b"\r\n\r")
    end = max(data.rfind(pair, start, stop) for pair in PAIRS) + 2
    if end < 2:
        return 0
    return end + (data[end - 1 : end + 1] == b"\r\n")


def split(data: bytes) -> list[bytes]:
    """Return the events in `data` without their ends.

    The last item contains the bytes after the last end, often none.
    """
    return EVENT_END.split(data) if b"\r" in data else data.split(b"\n\n")
