"""Asks a router which instance it would choose for a request."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from svc.base.address import is_loopback
from svc.base.errors import BadRequest, Forbidden, NotFound, SvcError, TooLarge, Unauthorized, Unavailable, message_of
from svc.base.http import fetch
from svc.client.router import unreachable

ROUTE_PATH = "/route"
TIMEOUT_SECONDS = 30.0
CORRECT_URL = "correct --router-url or ROUTER_URL"
ERRORS_BY_STATUS: dict[int, type[SvcError]] = {400: BadRequest, 401: Unauthorized, 403: Forbidden, 413: TooLarge}


def ask_route(url: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the router's answer to a query about this request; raise SvcError."""
    query = {"method": method, "path": path}
    try:
        answer = fetch(
            "POST",
            url + ROUTE_PATH,
            TIMEOUT_SECONDS,
            params=query,
            headers=dict(headers),
            data=body,
            verify=not is_loopback(urlsplit(url).hostname or ""),  # a certificate rarely names the loopback address
        )
        content = answer.json()
    except requests.Timeout:
        raise Unavailable(f"the router does not answer in time at {url}") from None
    except requests.exceptions.JSONDecodeError:
        raise Unavailable(f"what answers at {url} is no router; {CORRECT_URL}") from None
    except requests.RequestException as error:
        raise Unavailable(f"{unreachable(url, error)}; start it with 'svc up', or {CORRECT_URL}") from None
    if answer.ok and isinstance(content, dict) and "candidates" in content:
        return content
    if answer.status_code == NotFound.status:
        cure = f"{CORRECT_URL}, or upgrade it"
        raise NotFound(f"what answers at {url} is no router, or is older than this command: no {ROUTE_PATH}; {cure}")
    if answer.status_code == Unauthorized.status:
        cure = "pass a file with one as --key-file ('svc keys add NAME --operator' prints one)"
        raise Unauthorized(f"the router at {url} accepts only an operator's key; {cure}")
    message = message_of(content) or f"{url}: answered {answer.status_code}"
    raise ERRORS_BY_STATUS.get(answer.status_code, Unavailable)(message)
