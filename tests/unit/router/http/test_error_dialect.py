"""Errors in the caller's own dialect, and the headers that go with them."""

import json

import pytest

from svc.base.errors import (
    BadGateway,
    BadRequest,
    GatewayTimeout,
    NotFound,
    RateLimited,
    SvcError,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from svc.router.http.error_dialect import error_body, error_event

ANTHROPICS = {
    BadRequest: "invalid_request_error",
    Unauthorized: "authentication_error",
    NotFound: "not_found_error",
    TooLarge: "request_too_large",
    RateLimited: "rate_limit_error",
    BadGateway: "api_error",
    Unavailable: "overloaded_error",
    GatewayTimeout: "timeout_error",
    SvcError: "api_error",
}


@pytest.mark.parametrize("uri", [b"", b"/", b"/v1/chat/completions", b"/v1/message", b"/x/v1/messages"])
def test_openais_everywhere_else(uri: bytes):
    body = json.loads(error_body(NotFound("no", param="model"), uri))
    assert body == {"error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "not_found"}}


@pytest.mark.parametrize(("kind", "name"), ANTHROPICS.items(), ids=lambda value: str(value))
@pytest.mark.parametrize("uri", [b"/v1/messages", b"/v1/messages?beta=true", b"/v1/messages/count_tokens"])
def test_anthropics_on_its_own_paths(kind: type[SvcError], name: str, uri: bytes):
    body = json.loads(error_body(kind("no"), uri))
    assert body == {"type": "error", "error": {"type": name, "message": "no"}}


def test_what_ends_a_stream():
    data, done, rest = error_event(BadGateway("broke\noff"), b"/v1/completions").split(b"\n\n")
    assert (json.loads(data.removeprefix(b"data: "))["error"]["message"], done, rest) == (
        "broke\noff",
        b"data: [DONE]",
        b"",
    )
    body = error_event(BadGateway("broke\noff"), b"/v1/messages")
    assert body.startswith(b"event: error\ndata: {")
    assert body.endswith(b"}\n\n")
    assert body.count(b"\n") == 3


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (Unauthorized("who"), {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}),
        (RateLimited("slow", 1.2), {"Retry-After": "2"}),
        (Unavailable("nobody"), {}),
    ],
)
def test_the_headers_of_an_error(error: SvcError, headers: dict[str, str]):
    assert error.headers() == headers
