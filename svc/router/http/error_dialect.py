"""Error bodies in the format of the client's API: OpenAI's, or Anthropic's on /v1/messages. Pure."""

from typing import Any

import msgspec

from svc.base.errors import SvcError, error_object

ANTHROPIC_PATH_PREFIXES = (b"/v1/messages", b"/messages")
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    415: "invalid_request_error",
    421: "invalid_request_error",
    426: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def is_anthropic(uri: bytes) -> bool:
    """Return whether the URI's path is one of Anthropic's API."""
    return uri.startswith(ANTHROPIC_PATH_PREFIXES)


def error_body(error: SvcError, uri: bytes = b"") -> bytes:
    """Return the JSON body of an error response.

    `uri`: the request's URI, whose path decides the API's format, empty if it is unknown.
    """
    return msgspec.json.encode(_error_fields(error, is_anthropic(uri)))


def error_event(error: SvcError, uri: bytes) -> bytes:
    """Return the last event for an event stream that broke off, so that the client receives the error.

    `uri`: the request's URI, whose path decides the API's format.
    """
    if is_anthropic(uri):
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(_error_fields(error, True))
    return b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(error_object(error))


def _error_fields(error: SvcError, anthropic: bool) -> dict[str, Any]:
    if not anthropic:
        return error_object(error)
    return {
        "type": "error",
        "error": {"type": ANTHROPIC_TYPES.get(error.status, "api_error"), "message": error.message},
    }
