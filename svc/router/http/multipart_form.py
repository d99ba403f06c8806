"""Finds the model in a multipart form, as audio and image requests send it. Pure.

The scan finds boundaries and reads the heads of parts, within limits; the contents of parts are not decoded. A form
that engines might read differently is refused: the router could find one model in it, and the engine another.
"""

import re

from svc.base.errors import BadRequest

MAX_PARTS = 128
MAX_PART_HEAD_BYTES = 4096
MAX_OPTIONS_BYTES = 1024  # limit for the values of Content-Disposition and of the form's Content-Type
MAX_PADDING_BYTES = 64  # limit for blanks after a boundary (RFC 2046, 5.1.1)
MAX_BOUNDARY_BYTES = 256  # RFC 2046 allows 70

OPTION = re.compile(rb';[ \t]*([\w!#$&+.^`|~*-]+)[ \t]*=[ \t]*("(?:[^"\\\r\n]|\\[^\r\n])*"|[^";\s]*)[ \t]*')
BLANKS = b" \t"
CHARSETS = (b"utf-8", b"us-ascii", b"ascii")


def find_field(body: bytes, content_type: bytes, name: bytes) -> slice | None:
    """Return the position in the body of the value of the field `name`; None if the form has no such field.

    A part with a file name is a file, not a field. Raise BadRequest if the body is not a multipart form, if the field
    occurs twice, or if engines might read the form differently.
    """
    delimiter = b"--" + _boundary(content_type)
    value_slice: slice | None = None
    at = _next_delimiter(body, delimiter, 0)
    for _ in range(MAX_PARTS + 1):
        if body.startswith(b"--", at):
            return value_slice
        start = body.index(b"\r\n", at) + 2
        value = body.find(b"\r\n\r\n", start - 2, start + MAX_PART_HEAD_BYTES) + 4
        if value < 4:
            raise _broken(f"the head of the part at byte {start} is over {MAX_PART_HEAD_BYTES} bytes, or cut off")
        at = _next_delimiter(body, delimiter, value - 2)
        if _is_field(body[start : value - 4], name):
            if value_slice is not None:
                raise _broken(f"it has the field {name.decode()} twice")
            value_slice = slice(value, at - len(delimiter) - 2)
    raise BadRequest(f"the form has over {MAX_PARTS} parts; send fewer")


def _next_delimiter(body: bytes, delimiter: bytes, start: int) -> int:
    """Return the position after the next delimiter, which is a boundary alone on its line; raise BadRequest."""
    for _ in range(MAX_PARTS):
        at = 0 if start == 0 and body.startswith(delimiter) else body.find(b"\r\n" + delimiter, start) + 2
        if at == 1:  # `find` returned -1: no delimiter
            break
        start = at + len(delimiter)
        line = body[start : start + MAX_PADDING_BYTES]
        if line.startswith(b"--") or line.lstrip(BLANKS).startswith(b"\r\n"):
            return start
    raise _broken(f"the next boundary is missing after byte {start}")


def _boundary(content_type: bytes) -> bytes:
    _, options = _options(content_type)
    boundary, charset = options.get(b"boundary", b""), options.get(b"charset", b"utf-8")
    if not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
        raise _broken("its Content-Type names no boundary")
    if charset.lower() not in CHARSETS:
        raise _broken(f"its charset is {charset.decode('latin-1')!r}")
    return boundary


def _is_field(head: bytes, name: bytes) -> bool:
    """Return whether a part is the field of this name; raise BadRequest if engines may read the part differently."""
    lines = [line.partition(b":")[2] for line in head.split(b"\r\n") if _is_disposition(line)]
    if len(lines) != 1:
        raise _broken(f"a part has {len(lines)} Content-Disposition headers")
    kind, options = _options(lines[0])
    if options.get(b"name") != name or b"filename" in options:
        return False
    if kind != b"form-data" or b"filename*" in options or b"name*" in options:
        raise _broken(f"engines read the Content-Disposition of its field {name.decode()} differently")
    return True


def _is_disposition(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() == b"content-disposition"


def _options(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the type and the parameters of a header's value such as `form-data; name="model"`; raise BadRequest."""
    kind, semicolon, rest = value.strip().partition(b";")
    rest = semicolon + rest
    options: dict[bytes, bytes] = {}
    while rest and (option := OPTION.match(rest)) and len(value) <= MAX_OPTIONS_BYTES:
        key, text = option[1].lower(), option[2]
        if key in options:
            raise _broken(f"a header has the option {key.decode()} twice")
        options[key] = re.sub(rb"\\(.)", rb"\1", text[1:-1]) if text[:1] == b'"' else text
        rest = rest[option.end() :]
    if rest.strip(b"; \t"):
        raise _broken("cannot read the options of a header, or they are too long")
    return kind.strip().lower(), options


def _broken(reason: str) -> BadRequest:
    return BadRequest(f"cannot read the form: {reason}; send multipart/form-data as RFC 7578 has it")
