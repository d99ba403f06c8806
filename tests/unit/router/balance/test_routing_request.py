import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import BadRequest, UnsupportedMedia
from svc.router.balance.routing_request import parse
from tests.unit.router.examples import request


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "m"}', "m"),
        (b' \n {"x": [1, {"model": "no"}], "model": "m\\u00e9"}', "m\u00e9"),
        (b"", None),
        (b"{}", None),
        (b'{"model": ""}', None),
        (b'{"model": null}', None),
        (b'["model"]', None),
        (b" " * 500 + b'{"model": "m"}', "m"),
        (b"\xef\xbb\xbf" + b'{"model": "m"}', "m"),
    ],
)
def test_the_model_of_a_json_body(body: bytes, model: str | None):
    assert parse(request(body)).model == model


@pytest.mark.parametrize(
    "body", [b'{"model": 7}', b'{"model": ["m"]}', b'{"model": "m"', b'{"model": "\xff"}', b"\x1f\x8b\x08", b"hello"]
)
@pytest.mark.parametrize("kind", [b"application/json", b"application/x-www-form-urlencoded", b""])
def test_a_body_that_cannot_be_read_is_refused(body: bytes, kind: bytes):
    with pytest.raises(BadRequest):
        parse(request(body, (b"Content-Type", kind)))


def test_a_body_of_a_type_that_is_not_read_needs_its_model_in_the_query():
    sdp = (b"Content-Type", b"application/sdp")
    with pytest.raises(UnsupportedMedia, match="application/sdp"):
        parse(request(b"v=0", sdp))
    assert parse(request(b"v=0", sdp, uri=b"/v1/realtime/calls?model=a%2Fb")).model == "a/b"


def test_the_query_names_no_model_where_the_body_is_read():
    assert parse(request(b"{}", uri=b"/v1/x?model=m")).model is None


def form(*fields: tuple[str, bytes]) -> bytes:
    return b"".join(b"--B\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (n.encode(), v) for n, v in fields)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (form(('name="model"', b"m")) + b"--B--\r\n", "m"),
        (form(('name="file"; filename="model"', b"\0" * 200_000), ('name="model"', b"m")) + b"--B--\r\n", "m"),
        (form(('name="prompt"', b"m"), ('name="model"; filename="x"', b"m")) + b"--B--\r\n", None),
        (form(('name="model"', b"")) + b"--B--\r\n", None),
    ],
)
@pytest.mark.parametrize("boundary", [b"B", b'"B"', b"B; charset=utf-8"])
def test_the_model_of_a_form(body: bytes, model: str | None, boundary: bytes):
    kind = (b"Content-Type", b"multipart/form-data; boundary=" + boundary)
    assert parse(request(body, kind)).model == model


@pytest.mark.parametrize("body", [b"nonsense", form(('name="model"', b"\xff")) + b"--B--", b"m" * 1000])
def test_a_form_that_cannot_be_read_is_refused(body: bytes):
    with pytest.raises(BadRequest):
        parse(request(body, (b"Content-Type", b"multipart/form-data; boundary=B")))


def test_a_form_without_a_boundary_is_refused():
    with pytest.raises(BadRequest, match="boundary"):
        parse(request(b"x", (b"content-type", b"multipart/form-data")))


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.text(min_size=1, max_size=512))
def test_the_model_is_found_whatever_stands_around_it(fields: dict[str, object], model: str):
    assert parse(request(json.dumps({**fields, "model": model}).encode())).model == model


@given(st.binary())
def test_whatever_a_body_holds_it_is_read_or_refused(body: bytes):
    for whole in (body, b"{" + body, b"--B" + body):
        for kind in (b"application/json", b"multipart/form-data; boundary=B", b"text/event-stream"):
            with suppress(BadRequest, UnsupportedMedia):
                parse(request(whole, (b"Content-Type", kind)))
