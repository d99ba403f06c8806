import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.ask import parse
from tests.unit.router.made import request


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "m"}', "m"), (b' \n {"x": [1, {"model": "no"}], "model": "m\\u00e9"}', "m\u00e9"),
        (b"", None), (b"{}", None), (b'{"model": ""}', None), (b'{"model": null}', None), (b'{"model": 7}', None),
        (b'{"model": ["m"]}', None), (b'["model"]', None), (b'{"model": "m"', None), (b'{"model": "\xff"}', None),
        (b"\x1f\x8b\x08", None), (b'{"model": "%b"}' % (b"m" * 1000), "m" * 512),
    ],
)  # fmt: skip
def test_the_model_of_a_json_body(body: bytes, model: str | None):
    ask = parse(request(body))
    assert ask.model == model
    assert ask.size == len(body)


def form(*fields: tuple[str, bytes]) -> bytes:
    return b"".join(b"--B\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (n.encode(), v) for n, v in fields)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (form(('name="model"', b"m")) + b"--B--\r\n", "m"),
        (form(('name="file"; filename="model"', b"\0" * 200_000), ('name="model"', b"m")) + b"--B--\r\n", "m"),
        (form(('name="prompt"', b"m"), ('name="model"; filename="x"', b"m")) + b"--B--\r\n", None),
        (form(('name="model"', b"")) + b"--B--\r\n", None),
        (form(('name="file"', b"x")), None),
        (b"nonsense", None),
    ],
)
@pytest.mark.parametrize("boundary", [b"B", b'"B"', b"B; charset=utf-8"])
def test_the_model_of_a_form(body: bytes, model: str | None, boundary: bytes):
    told = (b"Content-Type", b"multipart/form-data; boundary=" + boundary)
    assert parse(request(body, told)).model == model


def test_a_form_without_a_boundary_asks_for_anybody():
    assert parse(request(b"x", (b"content-type", b"multipart/form-data"))).model is None


def test_the_session_is_the_key_in_the_body_else_the_header_else_address_and_agent():
    agent, told = (b"User-Agent", b"ua"), (b"X-Session-ID", b"s")
    body = b'{"prompt_cache_key": "k"}'
    assert parse(request(body, agent, told, x_forwarded_for=b"1")).session == b"k"
    assert parse(request(b"{}", agent, told, x_forwarded_for=b"1")).session == b"s"
    first = parse(request(b"{}", agent, x_forwarded_for=b"1")).session
    assert first
    assert first != parse(request(b"{}", agent, x_forwarded_for=b"2")).session
    assert first != parse(request(b"{}", (b"User-Agent", b"other"), x_forwarded_for=b"1")).session
    assert parse(request(b'{"prompt_cache_key": 7}', agent)).session == b""


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.text(min_size=1, max_size=512))
def test_the_model_is_found_whatever_stands_around_it(fields: dict[str, object], model: str):
    assert parse(request(json.dumps({**fields, "model": model}).encode())).model == model


@given(st.binary())
def test_nothing_makes_it_raise(body: bytes):
    parse(request(body))
    parse(request(b"{" + body))
    parse(request(b"--B" + body, (b"Content-Type", b"multipart/form-data; boundary=B")))
