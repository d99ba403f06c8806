"""The errors that are reported to a user or a client, and the body of an error response."""

import math
from typing import Any


class SvcError(Exception):
    """An error with an HTTP status. Its message says what is wrong, quotes the value, and says how to cure it."""

    status = 500
    type = "api_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code

    def headers(self) -> dict[str, str]:
        """Return the additional headers of the error response."""
        return {}


class BadRequest(SvcError):
    status, type, code = 400, "invalid_request_error", "bad_request"


class Unauthorized(SvcError):
    """The key is missing or wrong. Claude Code would repeat the request for minutes without `x-should-retry: false`."""

    status, type, code = 401, "authentication_error", "invalid_token"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}


class Forbidden(SvcError):
    status, type, code = 403, "permission_error", "forbidden"


class NotFound(SvcError):
    status, type, code = 404, "invalid_request_error", "not_found"


class NotAllowed(SvcError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestTimeout(SvcError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class Conflict(SvcError):
    status, type, code = 409, "invalid_request_error", "conflict"


class LengthRequired(SvcError):
    status, type, code = 411, "invalid_request_error", "length_required"


class TooLarge(SvcError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class UnsupportedMedia(SvcError):
    status, type, code = 415, "invalid_request_error", "unsupported_media_type"


class Misdirected(SvcError):
    status, type, code = 421, "invalid_request_error", "misdirected_request"


class UpgradeRequired(SvcError):
    status, type, code = 426, "invalid_request_error", "upgrade_required"

    def headers(self) -> dict[str, str]:
        return {"Upgrade": "websocket"}  # required by RFC 9110, 15.5.22


class RateLimited(SvcError):
    """The client exceeds a limit. `retry_after` is in seconds, rounded up to an integer for the Retry-After header."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(self, message: str, retry_after: float = 1) -> None:
        super().__init__(message)
        self.retry_after = max(1, math.ceil(retry_after))

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class HeadTooLarge(SvcError):
    status, type, code = 431, "invalid_request_error", "headers_too_large"


class BadGateway(SvcError):
    status, type, code = 502, "api_error", "bad_gateway"


class PoisonedRequest(SvcError):
    """The request has crashed instances, so the router does not send it to another instance.

    The header `x-should-retry: false` keeps OpenAI's client libraries from repeating the request.
    """

    status, type, code = 502, "api_error", "request_kills_instances"

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}


class Unavailable(SvcError):
    status, type, code = 503, "api_error", "service_unavailable"


class Overloaded(Unavailable):
    """There is no capacity for a request now, but there may be in a second."""

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class GatewayTimeout(SvcError):
    status, type, code = 504, "api_error", "gateway_timeout"


class LoopDetected(SvcError):
    status, type, code = 508, "api_error", "loop_detected"


class ConfigError(SvcError):
    """Files or settings are wrong; `problems` lists everything that is wrong, one line each."""

    code = "invalid_configuration"

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CommandError(SvcError):
    """A command cannot do its work; the CLI prints the message and exits with 1."""

    code = "command_failed"


def internal_error() -> SvcError:
    """Return the error for a failure that is a defect of the server. Its cause is for the log only."""
    return SvcError("internal error; the log has the details")


def error_object(error: SvcError) -> dict[str, Any]:
    """Return the body of an error response: an error object as OpenAI defines it."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def message_of(answer: object) -> str:
    """Return the message of an OpenAI error object, or the field `error` if it is a text; "" for any other JSON."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
