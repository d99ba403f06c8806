"""Reading the few fields of a JSON body that routing needs. Pure.

A body is read as leniently as the engines read it, which use Python's `json`:
with a byte order mark, in UTF-16 or UTF-32, with NaN and Infinity, with half a
surrogate pair. msgspec, which is strict and fast, reads it first; only what it
refuses is read the long way. No value is built but the few that are wanted.
"""

import json
import re
from itertools import islice

import msgspec

from svc.errors import BadRequest

MAX_MODEL_CHARS = 512
MAX_PLACES = 8  # where the model's value stands behind a colon; each may cost a decode to tell whether it is the one
MAX_RAW_BYTES = 6 * MAX_MODEL_CHARS + 2  # of a name in which every character is an escape, with its quotes
ABSENT = msgspec.Raw(b"")

# What Python's `json` reads and msgspec does not, with sound JSON of the same meaning to us. `\ud` begins every
# escape of half a surrogate pair.
LENIENT_REPLACEMENTS = ((b"NaN", b"0.0"), (b"Infinity", b"1.000000"), (b"\\ud", b"\\u0"), (b"\\uD", b"\\u0"))


class Fields(msgspec.Struct, frozen=True):
    """The model that a body names (None: none), and its prompt_cache_key as JSON (empty: none)."""

    model: str | None = None
    prompt_cache_key: msgspec.Raw = ABSENT


class _RawFields(msgspec.Struct):
    model: msgspec.Raw = ABSENT
    prompt_cache_key: msgspec.Raw = ABSENT


_decode = msgspec.json.Decoder(Fields).decode
_decode_raw = msgspec.json.Decoder(_RawFields).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def read_fields(body: bytes) -> Fields:
    """Return the fields of a JSON body.

    Raises BadRequest for what is not JSON, is nested too deeply, or names a model that is no short string.
    """
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_leniently(body)
    if fields.model is not None and len(fields.model) > MAX_MODEL_CHARS:
        raise _long_model()
    return fields


def replace_model(body: bytes, model: str) -> bytes:
    """Return a JSON body that names another model, as UTF-8, every other byte of it as it was.

    Raises BadRequest where the body has too many places in which its model could stand.
    """
    text = utf8(body)
    value = re.escape(bytes(_decode_lenient(text).model))
    places = list(islice(re.finditer(rb":[ \t\r\n]*(%b)" % value, text), MAX_PLACES + 1))
    for place in reversed(places if len(places) <= MAX_PLACES else []):
        changed = text[: place.start(1)] + msgspec.json.encode(model) + text[place.end(1) :]
        if read_fields(changed).model == model:  # of several, the last one counts
            return changed
    raise BadRequest(f"cannot tell which of its fields is the body's model; ask for {model!r} itself", param="model")


def utf8(body: bytes) -> bytes:
    """Return a JSON body as UTF-8 without a byte order mark; raises BadRequest."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BadRequest(f"cannot read the body: it is not {error.encoding}; send JSON in UTF-8") from None


def _read_leniently(body: bytes) -> Fields:
    text = utf8(body)
    try:
        raw = _decode_lenient(text)
    except msgspec.ValidationError:  # JSON, but no object
        return Fields()
    except msgspec.DecodeError as error:
        raise BadRequest(f"cannot read the body as JSON: {error}") from None
    except RecursionError:
        raise BadRequest("cannot read the body: its JSON is nested too deeply; send it flatter") from None
    return Fields(_model(bytes(raw.model), text), raw.prompt_cache_key)


def _decode_lenient(text: bytes) -> _RawFields:
    try:
        return _decode_raw(text)
    except msgspec.ValidationError:
        _skip(text)
        raise
    except msgspec.DecodeError:
        for lenient, strict in LENIENT_REPLACEMENTS:
            text = text.replace(lenient, strict)
        _skip(text)
        return _decode_raw(text)


def _model(raw: bytes, text: bytes) -> str | None:
    """Return the model's name; `text` is the body in which its JSON must stand as it is."""
    if raw in (b"", b"null"):
        return None
    if raw[:1] != b'"':
        raise BadRequest("the body's model is not a string; send its name", param="model")
    if len(raw) > MAX_RAW_BYTES:
        raise _long_model()
    try:
        model = msgspec.json.decode(raw, type=str) if raw in text else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        model = None
    if model is None:
        raise BadRequest("cannot read the name of the body's model; send it in plain UTF-8", param="model")
    if len(model) > MAX_MODEL_CHARS:
        raise _long_model()
    return model


def _long_model() -> BadRequest:
    return BadRequest(f"the body's model has over {MAX_MODEL_CHARS} characters; send its name", param="model")
