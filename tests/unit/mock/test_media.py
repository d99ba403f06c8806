"""Speech, images and uploaded forms."""

import base64
import io
import struct
import wave
import zlib

import pytest

from svc.base.errors import BadRequest
from svc.mock.media import PNG_SIGNATURE, images, parse_form, speech

FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.wav"\r\n\r\n\x00\r\n\xff\r\n'
END = b"--x--\r\n"
CONTENT_TYPE = "multipart/form-data; boundary=x"


def test_speech_lasts_as_long_as_its_text():
    lengths = []
    for text in ("", "ab", "abcd"):
        with wave.open(io.BytesIO(speech(text))) as sound:
            lengths.append(sound.getnframes() / sound.getframerate())
    assert lengths == [0, 0.1, 0.2]


def test_an_image_is_a_valid_png_of_one_pixel():
    body = images(7, "a cat", 2)
    assert (body["created"], len(body["data"])) == (7, 2)
    data = base64.b64decode(body["data"][0]["b64_json"])
    assert data.startswith(PNG_SIGNATURE)
    chunks, offset = {}, len(PNG_SIGNATURE)
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        name, content = data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        assert struct.unpack_from(">I", data, offset + 8 + length) == (zlib.crc32(name + content),)
        chunks[name] = content
        offset += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (1, 1)
    assert len(zlib.decompress(chunks[b"IDAT"])) == 4


def test_the_colour_of_an_image_depends_on_its_prompt():
    assert images(7, "a", 1) == images(7, "a", 1)
    assert images(7, "a", 1)["data"][0]["b64_json"] != images(7, "b", 1)["data"][0]["b64_json"]


def test_a_form_has_its_fields_and_the_exact_bytes_of_its_file():
    fields, file = parse_form(CONTENT_TYPE, FORM + FILE + END)
    assert fields == {"model": "a"}
    assert (file.filename, file.read()) == ("b.wav", b"\x00\r\n\xff")


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b"{}", "multipart/form-data"),
        ("multipart/form-data", FORM + END, "form"),
        (CONTENT_TYPE, FORM + FILE, "form"),
        (CONTENT_TYPE, FORM + END, "no `file`"),
    ],
)
def test_an_invalid_form_is_refused_with_the_reason(content_type, body, message):
    with pytest.raises(BadRequest, match=message):
        parse_form(content_type, body)
