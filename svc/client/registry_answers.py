"""What a registry's answers mean: its results, its refusals and its failures."""

from typing import Any

import requests

from svc.base.errors import BadRequest, Forbidden, NotFound, RateLimited, SvcError, Unauthorized, message_of

ERRORS_BY_STATUS = {401: Unauthorized, 403: Forbidden, 404: NotFound}
EVENT_TEXT_FIELDS = ("time", "kind", "service", "level", "message", "source")


def failure_of(url: str, answer: requests.Response) -> str:
    """Return the failure that a registry reports, with its own message if the answer has one."""
    try:
        message = message_of(answer.json())
    except ValueError:
        message = ""
    return f"the registry at {url} answered {answer.status_code}{f': {message}' if message else ''}"


def result_of(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object of an answer; if the answer is an error, raise the SvcError for its status."""
    if not answer.content and answer.status_code in ERRORS_BY_STATUS:  # the original's registry sends no body
        raise ERRORS_BY_STATUS[answer.status_code](f"{answer.url}: answered {answer.status_code}")
    try:
        result = answer.json()
    except ValueError:
        raise SvcError(f"{answer.url}: not a registry: its answer {answer.status_code} is not JSON") from None
    if not isinstance(result, dict):
        raise SvcError(f"{answer.url}: not a registry: its answer {answer.status_code} is not an object")
    if answer.ok:
        return result
    message = message_of(result)
    if answer.status_code == RateLimited.status:
        seconds = answer.headers.get("Retry-After", "")
        raise RateLimited(message, float(seconds) if seconds.isdecimal() and len(seconds) < 10 else 1)
    raise ERRORS_BY_STATUS.get(answer.status_code, BadRequest)(
        message or f"{answer.url}: answered {answer.status_code}"
    )


def is_service(entry: object) -> bool:
    """Return whether an entry of the list of services has the fields that every service has."""
    return (
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("metadata", {}), dict)
    )


def is_event(entry: object) -> bool:
    """Return whether an entry of the list of events has the fields that every event has."""
    return isinstance(entry, dict) and all(isinstance(entry.get(field), str) for field in EVENT_TEXT_FIELDS)


def connection_problem(error: requests.RequestException) -> str:
    """Return a short reason for the error, because the error's text contains memory addresses of urllib3's objects."""
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    return "connection refused" if "refused" in str(error) else type(error).__name__
