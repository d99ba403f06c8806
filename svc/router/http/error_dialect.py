"""How an error is told in the caller's own dialect: OpenAI's, or Anthropic's on /v1/messages."""

from typing import Any

import msgspec

from svc.base.errors import SvcError, error_object

ANTHROPIC = b"/v1/messages"
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


def error_body(error: SvcError, target: bytes = b"") -> bytes:
    """The JSON body; `target` is the request's, as far as it is known."""
    return msgspec.json.encode(_object(error, target.startswith(ANTHROPIC)))


def error_event(error: SvcError, target: bytes) -> bytes:
    """What ends a stream of events that broke off, never silently."""
    if target.startswith(ANTHROPIC):
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(_object(error, True))
    return b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(error_object(error))


def _object(error: SvcError, anthropic: bool) -> dict[str, Any]:
    if not anthropic:
        return error_object(error)
    return {
        "type": "error",
        "error": {"type": ANTHROPIC_TYPES.get(error.status, "api_error"), "message": error.message},
    }
