from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from svc.base.errors import BadRequest
from svc.router.http.multipart_form import MAX_PART_HEAD_BYTES, MAX_PARTS, find_field
from tests.cpu import reference_cost

KIND = b"multipart/form-data; boundary=B"


def part(name: str, value: bytes, *more: str) -> bytes:
    options = "; ".join([f'form-data; name="{name}"', *more])
    return b"--B\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (options.encode(), value)


def value(body: bytes, kind: bytes = KIND) -> bytes | None:
    place = find_field(body, kind, b"model")
    return None if place is None else body[place]


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (part("model", b"m") + b"--B--\r\n", b"m"),
        (part("model", b"m") + b"--B--", b"m"),
        (part("model", b"") + b"--B--", b""),
        (part("file", b"\0\r\n--A\r\n" * 9, 'filename="model"') + part("model", b"m") + b"--B--", b"m"),
        (part("model", b"m", 'filename="x"') + b"--B--", None),
        (b"a preamble\r\n" + part("model", b"m") + b"--B--", b"m"),
        (part("model", b"m").replace(b"--B", b"--B \t") + b"--B--", b"m"),
        (part("model", b"m").replace(b"Content-D", b"X-A: 1\r\ncontent-d") + b"--B--", b"m"),
        (part("model", b"m").replace(b'name="model"', b'NAME="model"') + b"--B--", b"m"),
        (b"--B--\r\n", None),
        (part("file", b"x\r\n--Bx\r\n--B-\r\n", 'filename="f"') + part("model", b"m") + b"--B--", b"m"),
        (part("model", b"m").replace(b'name="model"', b'name = "model"') + b"--B--", b"m"),
        (part("model", b"m").replace(b'name="model"', b'name="mo\\del"') + b"--B--", b"m"),
    ],
)
def test_a_field_is_found(body: bytes, model: bytes | None):
    assert value(body) == model


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="model"; filename*=x',
        b'attachment; name="model"',
        b'form-data; name="model"; name="x"',
        b"form-data; name*=model; name=model",
        b"form-data; name=model x",
        b'form-data; name="model"; x="' + b"x" * 1100,
        b'form-data; name="model"\r\nContent-Disposition: form-data; name="x"',
    ],
)
def test_a_field_that_engines_read_differently_is_refused(disposition: bytes):
    with pytest.raises(BadRequest, match="cannot read the form"):
        value(b"--B\r\nContent-Disposition: %b\r\n\r\nm\r\n--B--" % disposition)


def test_a_form_with_two_such_fields_is_refused():
    with pytest.raises(BadRequest, match="the field model twice"):
        value(part("model", b"a") + part("model", b"b") + b"--B--")


@pytest.mark.parametrize("boundary", [b"----=_Part_1.2", b"a:b=c", b'"a b"'])
def test_odd_boundaries_are_found(boundary: bytes):
    body = (part("model", b"m") + b"--B--").replace(b"--B", b"--" + boundary.strip(b'"'))
    assert value(body, b"multipart/form-data; boundary=" + boundary) == b"m"


def test_another_charset_is_refused():
    with pytest.raises(BadRequest, match="utf-16"):
        value(part("model", b"m") + b"--B--", KIND + b"; charset=utf-16-le")


@pytest.mark.parametrize("boundary", [b'"B"', b"B ; charset=utf-8", b"B"])
def test_a_boundary_may_be_quoted(boundary: bytes):
    assert value(part("model", b"m") + b"--B--", b"Multipart/Form-Data; boundary=" + boundary) == b"m"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"--B",
        b"--B\r\n",
        part("model", b"m")[:-2],
        part("file", b"x"),
        part("x", b"y") + b"--Bx\r\n",
        b"--B\r\nX: 1\r\n\r\nm\r\n--B--",
        b"--B\r\nContent-Disposition: form-data; name=model\n\nm\r\n--B--",
        b"--B\r\nX: %b\r\n\r\n\r\n--B--" % (b"x" * MAX_PART_HEAD_BYTES),
    ],
)
def test_what_is_no_form_is_refused(body: bytes):
    with pytest.raises(BadRequest, match="cannot read the form"):
        find_field(body, KIND, b"model")


@pytest.mark.parametrize("kind", [b"multipart/form-data", b"multipart/form-data; boundary=", KIND + b"x" * 300])
def test_a_form_without_a_boundary_is_refused(kind: bytes):
    with pytest.raises(BadRequest, match="boundary"):
        find_field(b"--B--", kind, b"model")


def test_a_form_with_very_many_parts_is_refused():
    with pytest.raises(BadRequest, match=f"over {MAX_PARTS} parts"):
        find_field(part("x", b"y") * 10_000 + part("model", b"m") + b"--B--", KIND, b"model")


@pytest.mark.parametrize(
    "filling", [b" name=model", b"\r\n--", b"--B", b"\r", b"\r\n--B", b"x", part("y", b"", 'z="\\a"')]
)
def test_eight_megabytes_cost_milliseconds(filling: bytes):
    """Linear, whatever is in it: the search costs at most half of what json.loads would for the size."""
    body = part("x", filling * (8_000_000 // len(filling))) + part("model", b"m") + b"--B--"

    def search() -> None:
        with suppress(BadRequest):
            find_field(body, KIND, b"model")

    assert reference_cost(search) < 8 * 0.5


@given(st.binary(max_size=100), st.lists(st.tuples(st.text("abmodel", max_size=6), st.binary(max_size=20)), max_size=5))
def test_the_field_of_the_name_is_found_whatever_stands_beside_it(tail: bytes, fields: list[tuple[str, bytes]]):
    assume(not any(b"--B" in text for _, text in fields) and [name for name, _ in fields].count("model") < 2)
    body = b"".join(part(name, text) for name, text in fields) + b"--B--" + tail
    models = [text for name, text in fields if name == "model"]
    assert value(body) == (models[0] if models else None)
