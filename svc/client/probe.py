"""Requests to a monitored server: its health and its model list."""

import json
import os
import socket
import ssl
from contextlib import AbstractContextManager, nullcontext
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from svc.base.ca_certificates import library_ca
from svc.base.deadline import Deadline
from svc.base.dial import AddressCheck, AddressRefused, dial
from svc.protocol.engine_key import bearer
from svc.protocol.service import is_model_id
from svc.protocol.service_url import ServiceUrl, parse_service_url

USER_AGENT = "svc-health-check"  # a registry starts no check for such a request, to avoid loops
STATUS_NOT_IMPLEMENTED = 501
MAX_BODY_BYTES = 64 << 10
MAX_MODEL_LIST_BYTES = 8 << 20
CHUNK_BYTES = 4 << 10
MODEL_LIST_PATHS = ("/v1/models", "/models")


class ModelList(NamedTuple):
    """The result of a request for the model list.

    `models` is None if no readable list was returned; `status` is the status code of the last answer, 0 without one.
    """

    models: list[dict[str, Any]] | None
    status: int


def is_healthy(url: str, timeout: float, verify: str | bool = True) -> bool:
    """Return whether a GET returns 200 within `timeout` seconds.

    `verify` is the path of the CA certificates for https; True means those of the `requests` library.
    """
    return status(url, timeout, verify) == 200


def status(
    url: str, timeout: float, verify: str | bool = True, key: str = "", rejection_reason: AddressCheck | None = None
) -> int:
    """Send a GET and return the status code; 0 if there is no answer in time. `key` is the upstream API key."""
    return answer(url, timeout, verify, 0, key, rejection_reason)[0]


def answer(
    url: str,
    timeout: float,
    verify: str | bool = True,
    max_body: int = MAX_BODY_BYTES,
    key: str = "",
    rejection_reason: AddressCheck | None = None,
    limit_total: bool = False,
    method: str = "GET",
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """Send a request and return the status code and at most `max_body` bytes of the body; (0, b"") without an answer.

    `body` is the JSON that is sent, None if the request has no body.

    `timeout` (seconds) limits the connection and each read. With `limit_total`, it also limits the time from the
    connection to the end of the answer. A server could otherwise extend that time by sending single bytes. The limit
    costs a thread.

    Redirects are not followed. `rejection_reason` returns why an address may not be used, or "". Raise AddressRefused
    if no address of the host may be used.

    A registry may check a thousand servers in each round, so this function uses http.client, which costs a third of the
    `requests` library.
    """
    try:
        target = parse_service_url(url)
        connection = HTTPConnection(target.host, target.port, timeout=timeout)
        try:
            sock = dial(target.host, target.port, timeout, rejection_reason)
            with _limit(sock, timeout) if limit_total else nullcontext():
                connection.sock = _secured(sock, target, verify)
                content_type = {} if body is None else {"Content-Type": "application/json"}
                headers = {"User-Agent": USER_AGENT, **content_type, **bearer(key)}
                connection.request(method, (target.path or "/") + target.query, body, headers)
                response = connection.getresponse()
                return response.status, response.read(max_body) if max_body else b""
        finally:
            connection.close()
    except AddressRefused:
        raise
    except (OSError, HTTPException, ValueError):  # a missing CA file raises OSError, too
        return 0, b""


def status_is_healthy(status: int, required: bool) -> bool:
    """Return whether the status code of a health endpoint means that the server can serve requests.

    1. A `required` endpoint, whose path is configured, must return 2xx.
    2. Any other endpoint has a default path. Many servers lack it and return 404, 405 or 501, so these are healthy.
       Only a missing answer (0) and the other 5xx codes are unhealthy.
    """
    if required:
        return 200 <= status < 300
    return 0 < status < 500 or status == STATUS_NOT_IMPLEMENTED


def _limit(sock: socket.socket, seconds: float) -> AbstractContextManager[None]:
    """Return a context manager that ends the connection of `sock` if its block takes longer than `seconds`."""
    deadline = Deadline()
    deadline.watch(sock)
    return deadline.limit(seconds)


def _secured(sock: socket.socket, target: ServiceUrl, verify: str | bool) -> socket.socket:
    """Return the connected socket or, for https, a TLS socket that replaces it."""
    if target.scheme == "http":
        return sock
    try:
        return _tls_context(verify).wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


def _tls_context(verify: str | bool) -> ssl.SSLContext:
    """Return a TLS context for a client.

    `verify` is the path of the CA certificates. True means those of the `requests` library, False no verification.
    """
    path = library_ca() if verify is True else verify or None
    is_directory = path is not None and os.path.isdir(path)
    context = ssl.create_default_context(cafile=None if is_directory else path, capath=path if is_directory else None)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def model_list(url: str, timeout: float, verify: str | bool = True, key: str = "") -> ModelList:
    """Return the model list of a server from /v1/models, or from /models if /v1/models lists no model.

    The server has `timeout` seconds for each of the two answers.
    """
    listed: list[dict[str, Any]] | None = None
    last_status = 0
    for path in MODEL_LIST_PATHS:
        code, body = answer(url.rstrip("/") + path, timeout, verify, MAX_MODEL_LIST_BYTES + 1, key, limit_total=True)
        if not code:
            break  # the other path would fail, too
        last_status = code
        models = _listed_models(body) if code < 400 else None
        if models is not None:
            listed = models
        if listed or code in (401, 403):
            break
    return ModelList(listed, last_status)


def _listed_models(body: bytes) -> list[dict[str, Any]] | None:
    """Return the usable entries of a model list; None if the body is no list, or is too large."""
    try:
        data = json.loads(body).get("data") if len(body) <= MAX_MODEL_LIST_BYTES else None
    except (ValueError, RecursionError, AttributeError):
        return None
    return [m for m in data if isinstance(m, dict) and is_model_id(m.get("id"))] if isinstance(data, list) else None
