"""The HTTP client of the registry."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import requests

from svc.base.errors import BadRequest, SvcError, Unavailable
from svc.base.http import fetch
from svc.base.token_file import first_token
from svc.client.registry_answers import connection_problem, failure_of, is_event, is_service, result_of
from svc.protocol.gpu_report import GpuReport, ListedHost
from svc.protocol.instance_load import ListedLoad

log = logging.getLogger(__name__)
LIST_CONNECT_TIMEOUT_SECONDS = 1.0  # short, so that the client retries soon after a broken link is restored

Query = Mapping[str, str]
Events = list[dict[str, Any]]
Body = TypeVar("Body")


class RegistryFailed(Unavailable):
    """A registry answers that it cannot serve the request, for example because its store is away."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceList:
    """A registry's list of services. `entries` is its JSON text, which a router decodes into its own types."""

    entries: Sequence[msgspec.Raw]
    index: int | None  # the revision of the list, which decreases only if the registry's data was lost; None: unknown
    url: str  # the registry that sent the list: revisions of different registries cannot be compared

    @property
    def services(self) -> list[dict[str, Any]]:
        """Return the decoded entries; raise SvcError if an entry has no name."""
        services = [msgspec.json.decode(entry) for entry in self.entries]
        if not all(is_service(service) for service in services):
            raise SvcError(f"{self.url}: not a registry: it lists services that have no name")
        return services


class _ServiceList(msgspec.Struct):
    services: list[msgspec.Raw]


class _Loads(msgspec.Struct):
    loads: list[ListedLoad]


class _Hosts(msgspec.Struct):
    hosts: list[ListedHost]


class RegistryClient:
    """Sends each request to the first registry of `urls` that answers, and tries that one first the next time.

    The methods raise NotFound for an unknown name, Forbidden for a name that another owner has registered, Unavailable
    if no registry answers, and a different SvcError for any other refusal. `timeout` is in seconds.
    With a `secret`, only clients that send the same secret can change the registrations of this client.
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
        self._list_url = ""  # the registry that sent the last list
        self.secret = secret
        self._headers = dict(headers or {})  # sent with each request

    def health(self) -> dict[str, Any]:
        """Return the content of the registry's /health."""
        return self._call("GET", "/health")

    def reported_problem(self) -> str:
        """Return the problem that the registry reports about itself; "" if there is none or no registry answers."""
        for url in filter(None, self.urls):
            try:
                return str(fetch("GET", f"{url}/health", self.timeout).json().get("reason", ""))
            except (requests.RequestException, ValueError, AttributeError):
                continue
        return ""

    def services(self) -> list[dict[str, Any]]:
        """Return the services without waiting for a change."""
        return self.list_services().services

    def list_services(self, index: int | None = None, wait: float = 0) -> ServiceList:
        """Return the services; with the `index` of the last list, wait up to `wait` seconds until they change.

        The call does not wait if a different registry sent the last list, or if the registry does not support waiting.
        """

        def query(url: str) -> Query:
            return {"index": str(index), "wait": f"{wait:g}"} if index is not None and url == self._list_url else {}

        answer, url = self._send("GET", "/services", query=query, wait=wait)
        try:
            entries = msgspec.json.decode(answer.content if answer.ok else b"", type=_ServiceList).services
        except (msgspec.DecodeError, UnicodeDecodeError):
            result_of(answer)  # if the answer is an error, this raises it
            raise SvcError(f"{answer.url}: not a registry: it lists no services") from None
        index_header = answer.headers.get("X-Registry-Index", "")
        self._list_url = url
        return ServiceList(entries, int(index_header) if index_header.isdigit() else None, url)

    def loads(self) -> list[ListedLoad]:
        """Return the loads that engines have reported; raise NotFound for an older registry, which has none."""
        return self._list("/loads", _Loads, "loads").loads

    def gpus(self) -> list[ListedHost]:
        """Return the GPUs of all hosts that report them; raise NotFound for an older registry, which lists none."""
        return self._list("/gpus", _Hosts, "GPUs").hosts

    def report_gpus(self, name: str, report: GpuReport) -> None:
        """Report the GPUs of the host of the service `name`; raise NotFound for an older registry."""
        self._call("POST", f"/services/{name}/gpus", msgspec.to_builtins(report))

    def register(self, service: dict[str, Any]) -> dict[str, Any]:
        """Register a service, or replace its registration; return the service as the registry stores it."""
        return self._call("POST", "/services", service)["service"]

    def get(self, name: str) -> dict[str, Any]:
        """Return the service `name`."""
        return self._call("GET", f"/services/{name}")

    def update(self, name: str, fields: dict[str, Any]) -> None:
        """Replace the given `fields` of a service; its other fields stay."""
        self._call("PUT", f"/services/{name}", fields)

    def heartbeat(self, name: str, status: str) -> None:
        """Renew the lease of a service, and report its status."""
        self._call("POST", f"/services/{name}/heartbeat", {"status": status})

    def deregister(self, name: str) -> None:
        """Remove a service."""
        self._call("DELETE", f"/services/{name}")

    def drain(self, name: str, drained: bool = True, handover: bool = False) -> dict[str, Any]:
        """Drain a service, or end its drain if `drained` is false; return the service.

        With `handover`, routers also move its streams to other instances. An older registry ignores this, and returns
        the service without the field `handover`.
        """
        body = {"handover": True} if drained and handover else None
        return self._call("POST", f"/services/{name}/{'drain' if drained else 'undrain'}", body)["service"]

    def events(
        self, after: int | None = None, limit: int = 100, wait: float = 0, only: Query | None = None
    ) -> tuple[Events, int]:
        """Return the events with ids above `after` (None: the newest), oldest first, and the `after` of the next call.

        `only` selects events of some services and kinds. If there is no such event, wait up to `wait` seconds for one.
        """
        query = {"limit": str(limit), **(only or {})}
        if after is not None:
            query |= {"after": str(after), "wait": f"{wait:g}"}
        answer, url = self._send("GET", "/events", query=lambda url: query, wait=wait)
        payload = result_of(answer)
        events, last = payload.get("events"), payload.get("last")
        if not isinstance(events, list) or not isinstance(last, int) or not all(is_event(event) for event in events):
            raise SvcError(f"{url}: not a registry: it lists no events")
        return events, last

    def require_write_access(self) -> None:
        """Raise Unauthorized or Forbidden if the registry accepts no writes from this client. This changes nothing.

        The method sends an empty registration. A registry that accepts writes refuses it as invalid.
        """
        with suppress(BadRequest):
            self._call("POST", "/services", {})

    def report_events(self, events: Events) -> None:
        """Send events to the registry; each has kind, service, source and message."""
        self._call("POST", "/events", {"events": events})

    def end_kept_leases(self) -> list[str]:
        """End the lapsed leases that the registry keeps after a mass expiry; return the names of their services."""
        return self._call("POST", "/expire")["expired"]

    def _list(self, path: str, body: type[Body], content: str) -> Body:
        """Return the decoded answer to GET `path`; raise SvcError if it does not have the form of `body`."""
        answer, url = self._send("GET", path)
        try:
            return msgspec.json.decode(answer.content if answer.ok else b"", type=body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            result_of(answer)  # if the answer is an error, this raises it
            raise SvcError(f"{url}: not a registry: it lists no {content}") from None

    def _call(self, method: str, path: str, json: dict[str, Any] | None = None) -> dict[str, Any]:
        return result_of(self._send(method, path, json)[0])

    def _send(
        self,
        method: str,
        path: str,
        json: dict[str, Any] | None = None,
        query: Callable[[str], Query] | None = None,
        wait: float = 0,
    ) -> tuple[requests.Response, str]:
        """Return the answer and the URL of the registry that sent it.

        `query` returns the query parameters for a registry's URL. With parameters, the registry may wait up to `wait`
        seconds before it answers. A registry that disappears during this wait is detected within seconds.
        """
        reason, failure = "no registry is configured", ""
        for url in list(self.urls):
            params = query(url) if query else {}
            connect = min(LIST_CONNECT_TIMEOUT_SECONDS, self.timeout) if query else self.timeout
            timeout = (connect, self.timeout + wait if params else self.timeout)
            try:
                answer = fetch(
                    method,
                    url + path,
                    timeout,
                    keepalive=bool(query),
                    json=json,
                    params=params,
                    headers=self.request_headers(),
                )
            except requests.RequestException as error:
                reason = f"{url}: {connection_problem(error)}"
                continue
            if answer.status_code >= 500:
                failure = failure or failure_of(url, answer)
                continue
            if self.urls[0] != url:
                log.info("now using the registry at %s", url)
                self.urls.remove(url)
                self.urls.insert(0, url)
            return answer, url
        if failure:
            raise RegistryFailed(failure)
        raise Unavailable(f"cannot reach the registry: {reason}")

    def request_headers(self) -> dict[str, str]:
        """Return the headers of a request, with secret and token; raise SvcError if there is no valid token."""
        headers = {**self._headers, **({"X-Service-Secret": self.secret} if self.secret else {})}
        if not self.token_file:
            return headers
        try:
            token = first_token(Path(self.token_file))
        except OSError as error:
            raise SvcError(f"{self.token_file}: cannot read the registry's token: {error.strerror}") from None
        return {**headers, "Authorization": f"Bearer {token}"}
