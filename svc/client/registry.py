"""The only caller of the registry's URLs."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import requests

from svc.base.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    SvcError,
    Unauthorized,
    Unavailable,
    message_of,
)
from svc.base.http import fetch
from svc.base.secret_file import read_token

log = logging.getLogger(__name__)
KINDS = {401: Unauthorized, 403: Forbidden, 404: NotFound}
CONNECT_WITHIN = 1.0  # seconds, for a list: after a link has healed, the next try is not far

EVENT_TEXTS = ("time", "kind", "service", "level", "message", "source")

Query = Mapping[str, str]
Events = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceList:
    """A registry's services, of one moment; `entries` are their JSON, which routers read in their own way."""

    entries: Sequence[msgspec.Raw]
    index: int | None  # its revision, which goes back only when it has lost its data; None: it tells none
    url: str  # the registry: revisions of two that share no store cannot be compared

    @property
    def services(self) -> list[dict[str, Any]]:
        """The entries as objects; raises SvcError where one has no name."""
        services = [msgspec.json.decode(entry) for entry in self.entries]
        if not all(_is_service(service) for service in services):
            raise SvcError(f"{self.url}: not a registry: it lists services that have no name")
        return services


class _Body(msgspec.Struct):
    services: list[msgspec.Raw]


class RegistryClient:
    """Speaks to the first registry of `urls` that answers; the one that did is asked first the next time.

    Raises NotFound for a name it does not know, Forbidden for one that is
    another's, Unavailable when no registry answers, another SvcError for what a
    registry refused. `timeout` is in seconds; with a `secret`, what is registered
    is ours.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        token_file: str = "",
        timeout: float = 5,
        secret: str = "",
        headers: Query | None = None,
    ) -> None:
        self.urls = [u.rstrip("/") for u in ([urls] if isinstance(urls, str) else urls)]
        self.token_file = token_file
        self.timeout = timeout
        self._listed = ""  # where the last list came from
        self.secret = secret
        self._more = dict(headers or {})  # sent with each request

    def health(self) -> dict[str, Any]:
        return self._call("GET", "/health")

    def services(self) -> list[dict[str, Any]]:
        return self.list_services().services

    def list_services(self, index: int | None = None, wait: float = 0) -> ServiceList:
        """The services: at once, or with the `index` of the list before, when it has risen or after `wait` seconds.

        A registry other than the one that this index is from answers at once, and
        so does one that does not know how to wait.
        """

        def query(url: str) -> Query:
            return {"index": str(index), "wait": f"{wait:g}"} if index is not None and url == self._listed else {}

        answer, url = self._send("GET", "/services", query=query, wait=wait)
        try:
            entries = msgspec.json.decode(answer.content if answer.ok else b"", type=_Body).services
        except (msgspec.DecodeError, UnicodeDecodeError):
            _result(answer)  # which may know better
            raise SvcError(f"{answer.url}: not a registry: it lists no services") from None
        told = answer.headers.get("X-Registry-Index", "")
        self._listed = url
        return ServiceList(entries, int(told) if told.isdigit() else None, url)

    def register(self, service: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "/services", service)["service"]

    def get(self, name: str) -> dict[str, Any]:
        return self._call("GET", f"/services/{name}")

    def update(self, name: str, fields: dict[str, Any]) -> None:
        self._call("PUT", f"/services/{name}", fields)

    def heartbeat(self, name: str, status: str) -> None:
        self._call("POST", f"/services/{name}/heartbeat", {"status": status})

    def deregister(self, name: str) -> None:
        self._call("DELETE", f"/services/{name}")

    def drain(self, name: str, drained: bool = True) -> dict[str, Any]:
        """Sets or clears the operator's mark."""
        return self._call("POST", f"/services/{name}/{'drain' if drained else 'undrain'}")["service"]

    def events(
        self, after: int | None = None, limit: int = 100, wait: float = 0, only: Query | None = None
    ) -> tuple[Events, int]:
        """What happened after this id (None: the newest), oldest first, and the id to go on with.

        `only`: service, kind. `wait`: as soon as there is something, or after so many seconds.
        """
        asked = {"limit": str(limit), **(only or {})}
        if after is not None:
            asked |= {"after": str(after), "wait": f"{wait:g}"}
        answer, url = self._send("GET", "/events", query=lambda url: asked, wait=wait)
        told = _result(answer)
        events, last = told.get("events"), told.get("last")
        if not isinstance(events, list) or not isinstance(last, int) or not all(_is_event(event) for event in events):
            raise SvcError(f"{url}: not a registry: it lists no events")
        return events, last

    def report_events(self, events: Events) -> None:
        """What happened, to be kept with all the rest: kind, service, source and message of each."""
        self._call("POST", "/events", {"events": events})

    def expire(self) -> list[str]:
        """Ends the leases that a degraded registry keeps; the names."""
        return self._call("POST", "/expire")["expired"]

    def _call(self, method: str, path: str, json: dict[str, Any] | None = None) -> dict[str, Any]:
        return _result(self._send(method, path, json)[0])

    def _send(
        self,
        method: str,
        path: str,
        json: dict[str, Any] | None = None,
        query: Callable[[str], Query] | None = None,
        wait: float = 0,
    ) -> tuple[requests.Response, str]:
        """The answer, and which registry gave it; `query` is asked what to send to each, which may `wait` for so long.

        One that waits is known to be gone within seconds, too.
        """
        reason = "no registry is configured"
        for url in list(self.urls):
            params = query(url) if query else {}
            connect = min(CONNECT_WITHIN, self.timeout) if query else self.timeout
            timeout = (connect, self.timeout + wait if params else self.timeout)
            try:
                answer = fetch(
                    method,
                    url + path,
                    timeout,
                    keepalive=bool(query),
                    json=json,
                    params=params,
                    headers=self._headers(),
                )
            except requests.RequestException as error:
                reason = f"{url}: {_short(error)}"
                continue
            if answer.status_code >= 500:
                reason = f"{url}: it answered {answer.status_code}"
                continue
            if self.urls[0] != url:
                log.info("now using the registry at %s", url)
                self.urls.remove(url)
                self.urls.insert(0, url)
            return answer, url
        raise Unavailable(f"cannot reach the registry: {reason}")

    def _headers(self) -> dict[str, str]:
        ours = {**self._more, **({"X-Service-Secret": self.secret} if self.secret else {})}
        if not self.token_file:
            return ours
        try:
            token = read_token(self.token_file)
        except OSError as error:
            raise SvcError(f"{self.token_file}: cannot read the registry's token: {error.strerror}") from None
        return {**ours, "Authorization": f"Bearer {token}"}


def _result(answer: requests.Response) -> dict[str, Any]:
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
    raise KINDS.get(answer.status_code, BadRequest)(message or f"{answer.url}: answered {answer.status_code}")


def _is_service(entry: object) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("metadata", {}), dict)
    )


def _is_event(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(field), str) for field in EVENT_TEXTS)


def _short(error: requests.RequestException) -> str:
    """What is wrong, without urllib3's object addresses."""
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    return "connection refused" if "refused" in str(error) else type(error).__name__
