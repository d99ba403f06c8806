"""Sounds, images and forms."""

import base64
import io
import struct
import wave
import zlib

import pytest

from svc.base.errors import BadRequest
from svc.mock.media import PNG, form, images, speech

FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.wav"\r\n\r\n\x00\r\n\xff\r\n'
END = b"--x--\r\n"
KIND = "multipart/form-data; boundary=x"


def test_speech_is_a_sound_that_lasts_as_long_as_its_text():
    lengths = []
    for text in ("", "ab", "abcd"):
        with wave.open(io.BytesIO(speech(text))) as sound:
            lengths.append(sound.getnframes() / sound.getframerate())
    assert lengths == [0, 0.1, 0.2]


def test_an_image_is_a_whole_png_of_one_pixel():
    made = images(7, "a cat", 2)
    assert (made["created"], len(made["data"])) == (7, 2)
    data = base64.b64decode(made["data"][0]["b64_json"])
    assert data.startswith(PNG)
    chunks, at = {}, len(PNG)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + content),)
        chunks[name] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (1, 1)
    assert len(zlib.decompress(chunks[b"IDAT"])) == 4


def test_prompts_have_their_colours():
    assert images(7, "a", 1) == images(7, "a", 1)
    assert images(7, "a", 1)["data"][0]["b64_json"] != images(7, "b", 1)["data"][0]["b64_json"]


def test_a_form_has_fields_and_a_file_byte_for_byte():
    fields, file = form(KIND, FORM + FILE + END)
    assert fields == {"model": "a"}
    assert (file.filename, file.read()) == ("b.wav", b"\x00\r\n\xff")


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("application/json", b"{}", "multipart/form-data"),
        ("multipart/form-data", FORM + END, "form"),
        (KIND, FORM + FILE, "form"),
        (KIND, FORM + END, "no `file`"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(kind, body, told):
    with pytest.raises(BadRequest, match=told):
        form(kind, body)
