"""Requests and replies of the mock: the head, the body, the handler, and the format of errors."""

import io

import msgspec
import pytest

from svc.base.errors import BadRequest, NotAllowed, NotFound, TooLarge
from svc.mock import anthropic_messages, request_reply
from svc.mock.request_reply import CONNECTION_KEY, ClientLeft, dispatch, error_reply, json_reply, read_body, read_head
from tests.unit.mock.in_process import FakeConnection

ROUTES = {"/a": {"GET": lambda owner, request: json_reply([owner, request.method]), "PUT": lambda owner, request: None}}


def request(method="GET", path="/a"):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": "x=1",
        CONNECTION_KEY: FakeConnection(),
    }
    return read_head(environ)


def test_a_repeated_header_is_joined_and_a_path_is_utf_8():
    read = request(path="/größe")
    assert (read.path, read.query, read.headers) == ("/größe", "x=1", {"x-one": "1, 2"})


def test_a_head_request_is_handled_like_a_get():
    assert msgspec.json.decode(dispatch(ROUTES, "owner", request("HEAD")).body) == ["owner", "HEAD"]


def test_an_unknown_path_and_a_wrong_method_are_refused():
    with pytest.raises(NotFound, match="no such path: /b"):
        dispatch(ROUTES, None, request(path="/b"))
    with pytest.raises(NotAllowed, match="cannot POST /a: it takes GET, PUT"):
        dispatch(ROUTES, None, request("POST"))


@pytest.mark.parametrize("declared", [{"CONTENT_LENGTH": "5"}, {}])
def test_a_body_over_the_limit_is_refused(declared, monkeypatch):
    monkeypatch.setattr(request_reply, "MAX_BODY_BYTES", 4)
    with pytest.raises(TooLarge):
        read_body({"wsgi.input": io.BytesIO(b"12345"), **declared})
    assert read_body({"wsgi.input": io.BytesIO(b"1234")}) == b"1234"


def test_a_body_that_ends_early_means_that_the_client_left():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("unexpected end of file")

    with pytest.raises(ClientLeft):
        read_body({"wsgi.input": Broken()})


def test_an_error_has_the_format_of_the_api_of_its_path():
    error = BadRequest("cannot read it")
    openai = msgspec.json.decode(error_reply(error, "/v1/completions").body)
    assert (openai["error"]["message"], openai["error"]["code"]) == ("cannot read it", "bad_request")
    reply = error_reply(error, anthropic_messages.PATH, 529)
    assert reply.status == 529
    assert msgspec.json.decode(reply.body) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "cannot read it"},
    }
