"""Events of a stream: where one ends and the next begins (the HTML standard, 9.2.6). Pure.

An event ends with an empty line, a line with CRLF, LF or CR. Two line ends in a
row are therefore the end of an event, and CR LF is not two of them: what remains
is LF LF, LF CR and CR CR. A LF after such a last CR still belongs to it.
"""

import re

EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
CHUNK_ENDS = (b"\n\n\r\n", b"\r\n\r\n\r\n")  # the usual ones, at the end of a chunk of HTTP
PAIRS = (b"\n\n", b"\n\r", b"\r\r")
OVERLAP_BYTES = 2  # of what was searched already: an event's end may have begun there
END = re.compile(rb"\n\n|\n\r\n?|\r\r\n?")


def last_end(data: bytes | bytearray, start: int = 0) -> int:
    """Return where the last event ends that is whole in `data`, searched from `start` on; 0 where none is.

    CR LF CR at the very end is taken for the beginning of CR LF CR LF. Any other
    CR counts at once: where lines end in CR alone, no LF is going to follow.
    """
    stop = len(data) - data.endswith(b"\r\n\r")
    end = max(data.rfind(pair, start, stop) for pair in PAIRS) + 2
    if end < 2:
        return 0
    return end + (data[end - 1 : end + 1] == b"\r\n")


def split(data: bytes) -> list[bytes]:
    """Return the events in `data` without their ends; the last item is what follows the last end, often nothing."""
    return END.split(data) if b"\r" in data else data.split(b"\n\n")
