"""Where one event of a stream ends and the next begins (the HTML standard, 9.2.6). Pure."""

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
CHUNK_ENDS = tuple(end + b"\r\n" for end in EVENT_ENDS)  # the same at the end of a chunk of HTTP


def whole(data: bytes) -> tuple[bytes, bytes]:
    """The events that are whole, and the beginning of the next one."""
    end = max(data.rfind(mark) + len(mark) if mark in data else 0 for mark in EVENT_ENDS)
    return data[:end], data[end:]
