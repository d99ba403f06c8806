"""What a request asks for, as far as routing cares: pure."""

from typing import Any

import msgspec

from svc.router.request import Request

MODEL_LIMIT = 512  # characters of a model's name


class _Fields(msgspec.Struct):
    """The few fields that routing needs; msgspec skips the rest without building it."""

    model: Any = None
    prompt_cache_key: Any = None


_decode = msgspec.json.Decoder(_Fields).decode


class Ask(msgspec.Struct, frozen=True):
    """The model (None: any will do), the session it belongs to (empty: none), the size of its body in bytes."""

    model: str | None = None
    session: bytes = b""
    size: int = 0
    body: bytes = b""


def parse(request: Request) -> Ask:
    """A body that is not JSON, or has no model, asks for any instance: the instance says what is wrong with it."""
    body = request.body
    model: Any = None
    key: Any = None
    if body:
        if body[:1] == b"{" or body[:64].lstrip()[:1] == b"{":
            try:
                fields = _decode(body)
                model, key = fields.model, fields.prompt_cache_key
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
        elif request.head.content_type.lower().startswith(b"multipart/form-data"):
            model = _form_model(request.head.content_type, body)
    if not isinstance(model, str) or not model:
        model = None
    session = key.encode("utf-8", "surrogatepass") if isinstance(key, str) and key else request.head.session
    return Ask(model[:MODEL_LIMIT] if model else None, session, len(body), body)


def _form_model(content_type: bytes, body: bytes) -> str | None:
    """The form field `model`, as audio and image requests carry it."""
    from werkzeug.sansio.multipart import Data as PartData  # only where there are forms: it weighs 2 MB
    from werkzeug.sansio.multipart import Epilogue, Field, File, MultipartDecoder, NeedData

    boundary = next(
        (p.strip()[9:].strip(b'"') for p in content_type.split(b";") if p.strip().lower().startswith(b"boundary=")), b""
    )
    if not boundary:
        return None
    decoder = MultipartDecoder(boundary, max_form_memory_size=None)
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        name, value = "", b""
        while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
            if isinstance(event, (Field, File)):
                name, value = event.name if isinstance(event, Field) else "", b""
            elif isinstance(event, PartData) and name == "model":
                value += event.data
                if not event.more_data:
                    return value.decode("utf-8", "replace")
    except ValueError:  # not a form after all
        return None
    return None
