"""Finding a field in a multipart form, as audio and image requests carry their model. Pure.

The scan looks for boundaries only, within bounds, and stops at the field: a
file of many megabytes is passed over and not decoded.
"""

from svc.errors import BadRequest

MAX_PARTS = 128  # before the field
MAX_PART_HEAD_BYTES = 4096
MAX_PADDING_BYTES = 64  # of blanks after a boundary (RFC 2046, 5.1.1)
MAX_BOUNDARY_BYTES = 256  # RFC 2046 allows 70


def find_field(body: bytes, content_type: bytes, name: str) -> slice | None:
    """Return where the value of a form's first field of this name stands in its body, None where there is none.

    A part with a file name is a file, not a field. Raises BadRequest for what is no multipart form.
    """
    delimiter = b"--" + _boundary(content_type)
    at = 0 if body.startswith(delimiter) else _after(body, b"\r\n" + delimiter, 0) - len(delimiter)
    for _ in range(MAX_PARTS):
        at += len(delimiter)
        if body[at : at + 2] == b"--":
            return None
        start = _after(body, b"\r\n", at, MAX_PADDING_BYTES)
        if body[at:start].strip():
            raise _broken("a boundary does not end its line")
        value = _after(body, b"\r\n\r\n", start - 2, MAX_PART_HEAD_BYTES)
        next_boundary = _after(body, b"\r\n" + delimiter, value - 2)
        end = next_boundary - len(delimiter) - 2
        if _is_field(body[start : value - 4], name):
            return slice(value, end)
        at = end + 2
    raise BadRequest(f"the form has over {MAX_PARTS} parts before its {name}; send {name} first")


def _after(body: bytes, mark: bytes, start: int, within: int | None = None) -> int:
    """Return where the bytes after the next `mark` begin; raises BadRequest where there is none `within` so many."""
    at = body.find(mark, start, None if within is None else start + within + len(mark))
    if at < 0:
        raise _broken(f"{mark!r} is missing after byte {start}")
    return at + len(mark)


def _boundary(content_type: bytes) -> bytes:
    _, options = _options(content_type)
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    if not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
        raise _broken("its Content-Type names no boundary")
    return boundary


def _is_field(head: bytes, name: str) -> bool:
    """Whether a part is the field of this name."""
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            kind, options = _options(value)
            return kind == "form-data" and options.get("name") == name and "filename" not in options
    return False


def _options(value: bytes) -> tuple[str, dict[str, str]]:
    from werkzeug.http import parse_options_header  # only where there are forms: it weighs 2 MB

    kind, options = parse_options_header(value.decode("latin-1").strip())
    return kind.lower(), options


def _broken(reason: str) -> BadRequest:
    return BadRequest(f"cannot read the form: {reason}; send multipart/form-data as RFC 7578 has it")
