import io

import pytest

from svc.router.http.request import Request, RequestHead
from svc.router.wsgi import body_of, call, environ, head_of, uri_of
from tests.unit.router.examples import request


def test_a_request_becomes_an_environ():
    variables = environ(
        Request(
            RequestHead(
                b"GET",
                b"/v1/models/a%2Fb?x=%41",
                [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Type", b"t")],
                {b"host": b"h"},
            ),
            b"hi",
        ),
        "10.0.0.1",
    )
    assert (variables["PATH_INFO"], variables["QUERY_STRING"], variables["REMOTE_ADDR"]) == (
        "/v1/models/a/b",
        "x=%41",
        "10.0.0.1",
    )
    assert (variables["HTTP_X_A"], variables["CONTENT_TYPE"], variables["CONTENT_LENGTH"]) == ("1, 2", "t", "2")
    assert variables["HTTP_HOST"] == "h"
    assert variables["wsgi.input"].read() == b"hi"


def test_the_app_is_called_and_its_response_closed():
    class ResponseBody(list):
        closed = False

        def close(self) -> None:
            ResponseBody.closed = True

    def app(environment, start_response):
        start_response("200 OK", [("Content-Length", "9"), ("Connection", "x"), ("X-A", environment["REQUEST_METHOD"])])
        return ResponseBody([b"a", b"b"])

    answer = call(app, request(method=b"HEAD"), "")
    assert answer == ("200 OK", [("X-A", "GET")], b"ab", None)
    assert ResponseBody.closed


def test_an_event_stream_is_returned_before_its_end():
    def app(environment, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream; charset=utf-8")])
        return iter([b"a", b"b"])

    answer = call(app, request(), "")
    assert (answer.body, list(answer.parts)) == (b"", [b"a", b"b"])


def test_an_environ_becomes_a_request():
    environment = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1",
        "CONTENT_LENGTH": "4",
        "CONTENT_TYPE": "t",
        "HTTP_HOST": "h",
        "HTTP_X_A": "1",
        "HTTP_TE": "x",
        "HTTP_CONNECTION": "keep-alive, X-Mine",
        "HTTP_X_MINE": "1",
        "wsgi.input": io.BytesIO(b"body and more"),
    }
    head = head_of(environment)
    assert (head.method, head.uri, body_of(environment, 100)) == (b"POST", b"/a%20b?x=1", b"body")
    assert sorted(head.headers) == [(b"Content-Type", b"t"), (b"X-A", b"1")]
    assert head.has_body


@pytest.mark.parametrize("environment", [{"CONTENT_LENGTH": "1000"}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
def test_a_too_large_body_is_read_only_as_far_as_needed(environment: dict[str, str]):
    assert len(body_of({"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(b"x" * 1000), **environment}, 10)) == 11


def test_the_target_is_unchanged_where_the_server_has_kept_it():
    assert uri_of({"RAW_URI": "/%41?b", "PATH_INFO": "/A"}) == b"/%41?b"
    assert uri_of({"REQUEST_URI": "http://h/x"}) == b"/x"
    assert uri_of({"PATH_INFO": "/\u00c3\u00a4"}) == b"/%C3%A4"


def test_another_server_ignores_an_upgrade():
    environment = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/realtime", "QUERY_STRING": "model=m"}
    head = head_of({**environment, "HTTP_CONNECTION": "Upgrade", "HTTP_UPGRADE": "websocket"})
    assert not head.upgrade
    assert b"Upgrade" not in Request(head, b"").outgoing(b"h", b"c", b"id")
