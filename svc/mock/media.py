"""Create small valid audio and image files for the speech and image APIs, and parse uploaded forms."""

import base64
import io
import struct
import wave
import zlib
from typing import TYPE_CHECKING, Any

from svc.base.errors import BadRequest

if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

SAMPLES_PER_SECOND = 8000
SAMPLES_PER_LETTER = SAMPLES_PER_SECOND // 20
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def speech(text: str) -> bytes:
    """Return a WAV file of silence, as long as it takes to read the text aloud."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 1, SAMPLES_PER_SECOND, 0, "NONE", ""))
        sound.writeframes(b"\x80" * (SAMPLES_PER_LETTER * len(text)))
    return file.getvalue()


def images(created: int, prompt: str, number: int) -> dict[str, Any]:
    """Return an answer with `number` PNG images of one pixel, whose colour depends on the prompt."""
    pixel = zlib.crc32(prompt.encode("utf-8", "surrogatepass")).to_bytes(4, "big")[:3]
    image = base64.b64encode(_png(pixel)).decode()
    return {"created": created, "data": [{"b64_json": image, "revised_prompt": prompt}] * number}


def parse_form(content_type: str, body: bytes) -> tuple[dict[str, str], "FileStorage"]:
    """Return the fields of a multipart form and its `file`; raise BadRequest if the file is missing."""
    from werkzeug.formparser import FormDataParser  # here, because a mock must start quickly and few get forms
    from werkzeug.http import parse_options_header

    media_type, options = parse_options_header(content_type)
    if media_type != "multipart/form-data":
        raise BadRequest("cannot read the request: send a multipart/form-data with `model` and `file`")
    parser = FormDataParser(max_form_memory_size=None, silent=False)
    try:
        _, fields, files = parser.parse(io.BytesIO(body), media_type, len(body), options)
    except ValueError as error:
        raise BadRequest(f"cannot read the request's form: {error}") from None
    if "file" not in files:
        raise BadRequest("cannot transcribe nothing: the form has no `file`", param="file")
    return fields.to_dict(), files["file"]


def _png(pixel: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + pixel)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_png_chunk(name, data) for name, data in chunks)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
