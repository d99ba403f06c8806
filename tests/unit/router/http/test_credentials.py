from hashlib import sha256

import pytest

from svc.router.http.credentials import drop_credentials, drop_query_credentials, key_digests

KEY, OTHER = sha256(b"k").digest(), sha256(b"other").digest()


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "digests"),
    [
        (b"", b"", ()),
        (b"Bearer k", b"", (KEY,)),
        (b"bEARER  k ", b"", (KEY,)),
        (b"", b"k", (KEY,)),
        (b"Bearer k", b"other", (KEY, OTHER)),
        (b"Basic k", b"", ()),
        (b"Bearer ", b"", ()),
        (b"k", b"", ()),
    ],
)
def test_a_key_is_in_either_header(authorization: bytes, x_api_key: bytes, digests: tuple[bytes, ...]):
    assert key_digests(authorization, x_api_key) == digests


@pytest.mark.parametrize(
    "name",
    [b"Authorization", b"X-API-Key", b"api_key", b"Cookie", b"X-Auth-Token", b"Ocp-Apim-Subscription-Key", b"X-SECRET"],
)
def test_headers_that_may_hold_a_credential_are_dropped(name: bytes):
    assert list(drop_credentials([(b"Accept", b"*/*"), (name, b"s")])) == [(b"Accept", b"*/*")]


@pytest.mark.parametrize("name", [b"Accept", b"X-Session-Id", b"User-Agent", b"Keyboard", b"traceparent"])
def test_other_headers_are_passed_on(name: bytes):
    assert list(drop_credentials([(name, b"v")])) == [(name, b"v")]


@pytest.mark.parametrize(
    ("uri", "without"),
    [
        (b"/v1/x", b"/v1/x"),
        (b"/v1/x?a=1", b"/v1/x?a=1"),
        (b"/v1/x?key=s", b"/v1/x"),
        (b"/v1/x?a=1&api_key=s&b=2", b"/v1/x?a=1&b=2"),
        (b"/v1/x?%6Bey=s&a", b"/v1/x?a"),
        (b"/v1/x?access%5Ftoken=s", b"/v1/x"),
        (b"/v1/x?monkey=1", b"/v1/x?monkey=1"),
    ],
)
def test_query_parameters_that_may_hold_a_credential_are_dropped(uri: bytes, without: bytes):
    assert drop_query_credentials(uri) == without
