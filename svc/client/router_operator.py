"""Requests to a router that only operators may send, with their errors."""

import dataclasses
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from svc.base.address import is_loopback
from svc.base.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    SvcError,
    TooLarge,
    Unauthorized,
    Unavailable,
    message_of,
)
from svc.base.http import fetch
from svc.client.router import SERVICES_PATH, unreachable
from svc.protocol.event import OPERATOR_TOKEN_HEADER, OPERATOR_USER_HEADER

TIMEOUT_SECONDS = 30.0
CORRECT_URL = "correct --router-url or ROUTER_URL"
UNKNOWN_PATH_CODE = "path_not_relayed"  # the error code of a router that does not have the endpoint
ERRORS_BY_STATUS: dict[int, type[SvcError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
}


@dataclasses.dataclass(frozen=True, slots=True)
class RouterOperator:
    """A client of the router at `url`. `headers` have an operator's key or token, if the router requires keys.

    `user` is the system user who runs the command, for the audit; empty if that is not reported.
    """

    url: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user: str = ""

    def services(self) -> list[dict[str, Any]]:
        """Return the router's instances."""
        services = self.request("GET", SERVICES_PATH).get("services")
        return services if isinstance(services, list) else []

    def wake_instance(self, name: str) -> dict[str, Any]:
        """Ask the router to wake an instance, and return its answer: `status` and `reason`."""
        return self.request("POST", f"/instances/{quote(name, safe='')}/wake")

    def sleep_instance(self, name: str) -> dict[str, Any]:
        """Ask the router to put an instance to sleep, and return its answer: `status` and `reason`."""
        return self.request("POST", f"/instances/{quote(name, safe='')}/sleep")

    def wake_model(self, model: str) -> dict[str, Any]:
        """Ask the router to wake the best instance of a model, and return its answer."""
        return self.request("POST", f"/models/{quote(model, safe='')}/wake")

    def request(
        self, method: str, path: str, body: bytes = b"", params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the JSON object of the answer; raise SvcError with the cure."""
        try:
            answer = fetch(
                method,
                self.url + path,
                TIMEOUT_SECONDS,
                params=params,
                headers={**self.headers, **({OPERATOR_USER_HEADER: self.user} if self.user else {})},
                data=body,
                verify=not is_loopback(urlsplit(self.url).hostname or ""),  # a certificate rarely names loopback
            )
            content = answer.json()
        except requests.Timeout:
            raise Unavailable(f"the router does not answer in time at {self.url}") from None
        except requests.exceptions.JSONDecodeError:
            raise Unavailable(f"what answers at {self.url} is no router; {CORRECT_URL}") from None
        except requests.RequestException as error:
            raise Unavailable(f"{unreachable(self.url, error)}; start it with 'svc up', or {CORRECT_URL}") from None
        if answer.ok and isinstance(content, dict):
            return content
        raise self._error(path, answer.status_code, content)

    def _error(self, path: str, status: int, content: object) -> SvcError:
        error = content.get("error") if isinstance(content, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if status == NotFound.status and code in (None, NotFound.code, UNKNOWN_PATH_CODE):
            return NotFound(
                f"what answers at {self.url} is no router, or is older than this command: no {path}; {CORRECT_URL}, or "
                "upgrade it"
            )
        if status == Unauthorized.status and OPERATOR_TOKEN_HEADER not in self.headers:
            cure = "pass a file with one as --key-file ('svc keys add NAME --operator' prints one)"
            return Unauthorized(f"the router at {self.url} accepts only an operator's key; {cure}")
        message = message_of(content) or f"{self.url}: answered {status}"
        return ERRORS_BY_STATUS.get(status, Unavailable)(message)
