"""Requests to a server that is looked after: for its health, and for its models."""

from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests

from svc.dial import dial
from svc.engine_key import bearer
from svc.fetch import fetch

STATUS_NOT_IMPLEMENTED = 501
MAX_BODY_BYTES = 64 << 10
MODEL_LIST_PATHS = ("/v1/models", "/models")


class ModelList(NamedTuple):
    """What a server lists. `models`: None where it has no readable list; `status`: of the last answer, 0 for none."""

    models: list[dict[str, Any]] | None
    status: int


def healthy(url: str, timeout: float, verify: str | bool = True) -> bool:
    """Whether a GET answers 200 within `timeout` seconds; `verify`: CA certificates for https, if any."""
    return status(url, timeout, verify) == 200


def status(url: str, timeout: float, verify: str | bool = True, key: str = "") -> int:
    """The status that a GET is answered with within `timeout` seconds; 0: no answer. `key`: the server's API key."""
    return answer(url, timeout, verify, 0, key)[0]


def answer(
    url: str, timeout: float, verify: str | bool = True, max_body: int = MAX_BODY_BYTES, key: str = ""
) -> tuple[int, bytes]:
    """Return the status and the first bytes of the answer to a GET; (0, b""): no answer."""
    if url.startswith("http://"):
        return _answer(url, timeout, max_body, key)
    try:
        found = fetch("GET", url, timeout, verify=verify, headers=bearer(key))
        return found.status_code, found.content[:max_body]
    except (requests.RequestException, OSError):  # OSError: of certificates that are not there
        return 0, b""


def status_is_healthy(status: int, required: bool) -> bool:
    """Return whether the status of a health endpoint means that its server can take requests.

    `required`: the endpoint is configured, so it must answer 2xx. Otherwise its path is a default
    that many servers do not have (404, 405, 501): any answer but another 5xx passes.
    """
    if required:
        return 200 <= status < 300
    return 0 < status < 500 or status == STATUS_NOT_IMPLEMENTED


def _answer(url: str, timeout: float, max_body: int, key: str) -> tuple[int, bytes]:
    """The same in plain HTTP, at a third of the cost: a registry asks a thousand of them, again and again."""
    parts = urlsplit(url)
    try:
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.sock = dial(connection.host, connection.port, timeout)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers=bearer(key))
            found = connection.getresponse()
            return found.status, found.read(max_body) if max_body else b""
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError):
        return 0, b""


def _is_name(value: object) -> bool:
    """Whether a model's id can be told to others: half a surrogate pair cannot be written as UTF-8."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def model_list(url: str, timeout: float, verify: str | bool = True, key: str = "") -> ModelList:
    """Return the model objects that a server lists at /v1/models or /models."""
    listed: list[dict[str, Any]] | None = None
    status = 0
    for path in MODEL_LIST_PATHS:
        try:
            found = fetch("GET", url.rstrip("/") + path, timeout, verify=verify, headers=bearer(key))
            status = found.status_code
            data = found.json().get("data") if found.ok else None
        except (requests.ConnectionError, requests.Timeout):
            break  # the other path would do no better
        except (requests.RequestException, ValueError, AttributeError, OSError):
            continue
        if isinstance(data, list):
            listed = [m for m in data if isinstance(m, dict) and _is_name(m.get("id"))]
        if listed or status in (401, 403):
            break
    return ModelList(listed, status)
