"""Reads the few fields of a JSON body that routing needs. Pure.

A body is read as leniently as engines read it with Python's `json`: a byte order mark, UTF-16 or UTF-32, NaN and
Infinity, and half a surrogate pair are accepted. msgspec, which is strict and fast, reads a body first; if msgspec
refuses it, the body is read again leniently. Only the values that routing needs are decoded.
"""

import ctypes
import json
from contextlib import suppress

import msgspec

from svc.base.errors import BadRequest
from svc.router.http.json_strings import Removed, empty_long_strings, original_position

MAX_MODEL_CHARS = 512
MAX_RAW_BYTES = 6 * MAX_MODEL_CHARS + 2  # length of a quoted name in which every character is an escape
LARGE_JSON_BYTES = 32 << 10  # from this size on, skipping long strings saves more than it costs
ABSENT = msgspec.Raw(b"")

# Texts that only Python's `json` accepts, and JSON of the same length: with it, msgspec finds the positions of fields.
# No replacement turns another key into `model`: `\uf`, like `\ud`, begins the escape of a character that is not ASCII.
REPLACEMENTS = ((b"NaN", b"0.0"), (b"Infinity", b"1.000000"), (b"\\ud", b"\\uf"), (b"\\uD", b"\\uF"))


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a body that routing needs: its model (None if absent), and others as JSON (empty if absent)."""

    model: str | None = None
    prompt_cache_key: msgspec.Raw = ABSENT
    metadata: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    system: msgspec.Raw = ABSENT
    instructions: msgspec.Raw = ABSENT
    messages: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT


class JsonBody(msgspec.Struct, frozen=True, gc=False):
    """The fields of a JSON body, and the text that they were read from: the body, or a copy with empty long strings."""

    fields: Fields
    text: bytes
    removed: Removed = []

    def original(self, field: msgspec.Raw, body: bytes) -> memoryview:
        """Return a field's JSON as it is in `body`, including the strings that are empty in `text`."""
        if not self.removed:
            return memoryview(field)
        start = _position(field, self.text)
        end = start + memoryview(field).nbytes
        return memoryview(body)[original_position(start, self.removed) : original_position(end, self.removed)]


class _RawFields(msgspec.Struct):
    model: msgspec.Raw = ABSENT
    prompt_cache_key: msgspec.Raw = ABSENT
    metadata: msgspec.Raw = ABSENT


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


_decode = msgspec.json.Decoder(Fields).decode
_decode_raw = msgspec.json.Decoder(_RawFields).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def read_body(body: bytes) -> JsonBody:
    """Return the fields of a JSON body.

    Raise BadRequest if the body is not JSON or is nested too deeply, or if its model is not a string or is too long. An
    error inside a long string may remain undetected: the instance refuses it.
    """
    if len(body) >= LARGE_JSON_BYTES and body[:1] == b"{" and body[1:2] != b"\0":  # skips UTF-16 and UTF-32
        text, removed = empty_long_strings(body)
        if removed:
            with suppress(BadRequest):  # after an error, the whole body is read below, to report the error's position
                fields = _read(text)
                if fields.model and bytes(fields.prompt_cache_key) != b'""':  # else the key may have been emptied
                    return JsonBody(fields, text, removed)
    return JsonBody(_read(body), body)


def reread_body(body: bytes) -> JsonBody:
    """Return the fields of a JSON body with its prompt, also for a body that only Python's `json` reads.

    If only `json` reads it, the text is a copy of the body. If the body cannot be read, no field is present.
    """
    text = body
    try:
        try:
            return JsonBody(_decode(text), text)
        except msgspec.DecodeError:
            text = strict_json(utf8(body))
            return JsonBody(_decode(text), text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRequest):
        return JsonBody(Fields(), body)


def _read(body: bytes) -> Fields:
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_leniently(body)
    if fields.model is not None and len(fields.model) > MAX_MODEL_CHARS:
        raise _long_model()
    return fields


def user_id(metadata: msgspec.Raw) -> bytes:
    """Return the `user_id` in the metadata of an Anthropic body; empty if there is none."""
    try:
        return (_decode_metadata(metadata).user_id or "").encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""


def replace_model(body: bytes, model: str) -> bytes:
    """Return the JSON body with another model, in UTF-8; every other value is unchanged."""
    text = utf8(body)
    place = _find_fields(text)[0]
    if place is None:
        return body
    return text[: place.start] + msgspec.json.encode(model) + text[place.stop :]


def replace_value(text: bytes, value: msgspec.Raw, replacement: bytes) -> bytes:
    """Return the JSON `text` with `replacement` in place of `value`, which was decoded from `text`."""
    start = _position(value, text)
    return text[:start] + replacement + text[start + len(bytes(value)) :]


def utf8(body: bytes) -> bytes:
    """Return a JSON body as UTF-8 without a byte order mark; raise BadRequest if it cannot be decoded."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BadRequest(f"cannot read the body: it is not {error.encoding}; send JSON in UTF-8") from None


def strict_json(text: bytes) -> bytes:
    """Return JSON that msgspec can read if Python's `json` can read `text`. All fields keep their positions."""
    for lenient, strict in REPLACEMENTS:
        text = text.replace(lenient, strict)
    return text


def _read_leniently(body: bytes) -> Fields:
    text = utf8(body)
    place, fields = _find_fields(text)
    # Without the prompt, which would keep this copy of the body in memory.
    return Fields(None if place is None else _model(text[place]), fields.prompt_cache_key, fields.metadata)


def _find_fields(text: bytes) -> tuple[slice | None, _RawFields]:
    """Return the position of the model's JSON (None without a model), and all fields; raise BadRequest."""
    text = strict_json(text)
    try:
        try:
            return _decode_places(text)
        except msgspec.ValidationError:  # valid JSON so far, but not an object
            _skip(text)
            return None, _RawFields()
    except msgspec.DecodeError as error:
        raise BadRequest(f"cannot read the body as JSON: {error}; send JSON") from None
    except RecursionError:
        raise BadRequest("cannot read the body: its JSON is nested too deeply; send it flatter") from None


def _decode_places(text: bytes) -> tuple[slice | None, _RawFields]:
    fields = _decode_raw(text)
    if fields.model is ABSENT:
        return None, fields
    start = _position(fields.model, text)
    return slice(start, start + len(bytes(fields.model))), fields


def _model(raw: bytes) -> str | None:
    """Return the name of the model from its JSON; None for null and an empty name; raise BadRequest if invalid."""
    if raw in (b"", b"null"):
        return None
    if raw[:1] != b'"':
        raise BadRequest("the body's model is not a string; send its name", param="model")
    if len(raw) > MAX_RAW_BYTES:
        raise _long_model()
    try:
        model = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("cannot read the name of the body's model; send it in plain UTF-8", param="model") from None
    if len(model) > MAX_MODEL_CHARS:
        raise _long_model()
    return model


def _long_model() -> BadRequest:
    return BadRequest(f"the body's model has over {MAX_MODEL_CHARS} characters; send its name", param="model")


class _Buffer(ctypes.Structure):
    """The structure Py_buffer of CPython's C API."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _position(field: msgspec.Raw, text: bytes) -> int:
    """Return the position of a Raw in the text that it was decoded from."""
    content = bytes(field)
    position = text.find(content)
    if text.find(content, position + 1) < 0:
        return position
    return _address(field) - _address(text)  # a Raw is a view into the text; done last, because it costs more


def _address(data: bytes | msgspec.Raw) -> int:
    """Return the memory address of bytes, or of a Raw."""
    view = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(view), 0)
    try:
        return int(view.buf)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
