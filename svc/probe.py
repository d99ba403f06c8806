"""Questions to a server that is looked after: is it well, which models has it."""

from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests

from svc.fetch import fetch

STATUS_NOT_IMPLEMENTED = 501


def healthy(url: str, timeout: float, verify: str | bool = True) -> bool:
    """Whether a GET answers 200 within `timeout` seconds; `verify`: CA certificates for https, if any."""
    return status(url, timeout, verify) == 200


def status(url: str, timeout: float, verify: str | bool = True) -> int:
    """The status that a GET is answered with within `timeout` seconds; 0: no answer."""
    if url.startswith("http://"):
        return _status(url, timeout)
    try:
        return fetch("GET", url, timeout, verify=verify).status_code
    except (requests.RequestException, OSError):  # OSError: of certificates that are not there
        return 0


def is_healthy(status: int, required: bool) -> bool:
    """Return whether the status of a health endpoint means that its server can take requests.

    `required`: the endpoint is configured, so it must answer 2xx. Otherwise its path is a default
    that many servers do not have (404, 405, 501): any answer but another 5xx passes.
    """
    if required:
        return 200 <= status < 300
    return 0 < status < 500 or status == STATUS_NOT_IMPLEMENTED


def _status(url: str, timeout: float) -> int:
    """The same in plain HTTP, at a third of the cost: a registry asks a thousand of them, again and again."""
    parts = urlsplit(url)
    try:
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            return connection.getresponse().status
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError):
        return 0


def models(urls: Sequence[str], timeout: float) -> list[dict[str, Any]]:
    """The model objects of the first of `urls` (servers' roots) that lists any, at /v1/models or /models; else []."""
    for url in urls:
        for path in ("/v1/models", "/models"):
            try:
                answer = fetch("GET", url.rstrip("/") + path, timeout)
                data = answer.json().get("data") if answer.ok else None
            except (requests.ConnectionError, requests.Timeout):
                break  # the other path would do no better
            except (requests.RequestException, ValueError, AttributeError):
                continue
            found = [m for m in data or [] if isinstance(m, dict) and isinstance(m.get("id"), str)]
            if found:
                return found
    return []
