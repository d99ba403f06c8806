import pytest

from svc.base.errors import NotFound, RateLimited
from svc.router.http.request import RequestHead
from svc.router.proxy.own_responses import error_response, whole_response
from svc.router.wsgi import WsgiResponse

OK = WsgiResponse("200 OK", [("X-A", "1")], b"body")


def head(method: bytes = b"GET", http10: bool = False) -> RequestHead:
    return RequestHead(method, b"/health", (), {}, http10)


@pytest.mark.parametrize(
    ("method", "http10", "keep", "connection"),
    [
        (b"GET", False, True, b""),
        (b"GET", False, False, b"Connection: close\r\n"),
        (b"GET", True, True, b"Connection: keep-alive\r\n"),
        (b"GET", True, False, b"Connection: close\r\n"),
    ],
)
def test_the_connection_header_of_a_response(method: bytes, http10: bool, keep: bool, connection: bytes):
    expected = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 4\r\n%b\r\nbody" % connection
    assert whole_response(OK, head(method, http10), keep) == expected


def test_a_response_to_head_has_the_length_and_no_body():
    assert whole_response(OK, head(b"HEAD"), True) == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 4\r\n\r\n"


def test_a_304_has_no_length():
    assert b"Content-Length" not in whole_response(WsgiResponse("304 NOT MODIFIED", []), head(), True)


def test_an_unreadable_request_gets_a_whole_response():
    assert whole_response(OK, None, False).endswith(b"Connection: close\r\n\r\nbody")


def test_an_error_has_the_format_of_the_api_and_its_headers():
    response = error_response(RateLimited("busy", retry_after=3), b"/v1/messages", b"id-1", [("Vary", "Origin")])
    headers = {name.lower(): value for name, value in response.headers}
    assert response.status == "429 Too Many Requests"
    assert (headers["retry-after"], headers["x-request-id"], headers["vary"]) == ("3", "id-1", "Origin")
    assert b'"rate_limit_error"' in response.body
    response = error_response(NotFound("no"), b"/v1/models/x", b"", [])
    assert b'"invalid_request_error"' in response.body
    assert "x-request-id" not in dict(response.headers)
