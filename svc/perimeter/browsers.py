"""Decide from Host, Origin, Sec-Fetch-Site and Content-Type whether to admit a request from a web page. Pure.

Origins are checked as in Go's http.CrossOriginProtection: a browser states the origin of a request in headers that no
page can change. A request without these headers does not come from a browser.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from svc.base.errors import Forbidden, Misdirected, SvcError, UnsupportedMedia
from svc.perimeter.hosts import ANY, Hosts, split_authority
from svc.protocol.service_url import DEFAULT_PORTS

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OWN_SITES = frozenset(("same-origin", "none"))  # values of Sec-Fetch-Site; none: the user typed the URL
MAX_SHOWN_CHARACTERS = 100  # longer header values are cut in error messages


class Headers(Protocol):
    """A request's headers; `get` takes a name in lower case."""

    def get(self, name: str, /) -> str | None: ...


class SettingNames(NamedTuple):
    """The names of a server's settings, which its error messages quote."""

    allowed_hosts: str
    cors_origins: str = ""  # empty if the server has no such setting


class BrowserRules:
    """The rules that one server applies to browsers. Web pages from `origins` may send write requests to the server."""

    def __init__(self, hosts: Hosts, setting_names: SettingNames, origins: Collection[str] = ()) -> None:
        self.hosts = hosts
        self.origins = frozenset(origin.lower() for origin in origins)
        self._setting_names = setting_names

    def check(self, method: str, headers: Headers, from_proxy: bool = False) -> None:
        """Raise SvcError if the request must be refused. `from_proxy` means that a trusted proxy has sent it."""
        host = headers.get("host")
        if not self.admits_host(host, from_proxy):
            raise self.misdirected(host)
        if method in SAFE_METHODS:
            return
        if self.refuses_origin(headers.get("origin"), headers.get("sec-fetch-site"), host, headers.get):
            raise self.cross_origin(headers.get("origin"))
        if headers.get("content-length") != "0":
            check_media(headers.get("content-type") or "")

    def admits_host(self, host: str | None, from_proxy: bool = False) -> bool:
        """Return whether the server accepts this Host header.

        If the setting `allowed_hosts` is empty, a trusted proxy may send any Host: the clients of a proxy may know the
        server by a name that the server does not know.
        """
        return self.hosts.admits(host) or (from_proxy and not self.hosts.listed)

    def allows(self, origin: str | None) -> bool:
        """Return whether web pages from this origin may send write requests."""
        return bool(origin) and (ANY in self.origins or str(origin).lower() in self.origins)

    def refuses_origin(
        self, origin: str | None, site: str | None, host: str | None, header: Callable[[str], str | None]
    ) -> bool:
        """Return whether a write request comes from a page that may not write.

        In X-Forwarded-Host, a proxy passes on the host name that its clients use. The header is trusted from every
        sender: a page of another origin can send it only after a preflight request, which the server refuses.
        """
        if not origin and not site:
            return False
        if self.allows(origin):
            return False
        if site:
            return site not in OWN_SITES
        return not any(is_same_authority(str(origin), own) for own in (host, header("x-forwarded-host")) if own)

    def misdirected(self, host: str | None) -> SvcError:
        """Return the error for a Host header that the server does not accept."""
        return Misdirected(
            f"Host {shown(host)} is not a name of this server; use http://localhost or the machine's own name, or add "
            f"{shown(host)} to {self._setting_names.allowed_hosts}"
        )

    def cross_origin(self, origin: str | None) -> SvcError:
        """Return the error for a page that may not write."""
        cure = self._setting_names.cors_origins
        return Forbidden(
            f"a page of {shown(origin) if origin else 'another origin'} may not send this request"
            + (f"; to allow its origin, add it to {cure}" if cure else "; send it from a program, without Origin"),
            code="cross_origin",
        )


def check_media(content_type: str) -> None:
    """Raise UnsupportedMedia for any type but JSON, because browsers send some other types without a preflight."""
    media = content_type.partition(";")[0].strip().lower()
    if media and media != "application/json":
        raise UnsupportedMedia(f"Content-Type: {shown(media)} is not accepted; send application/json")


def is_same_authority(origin: str, authority: str) -> bool:
    """Return whether an Origin header and a Host header refer to the same server.

    The scheme is not compared, because a proxy may end TLS.
    """
    scheme, _, rest = origin.lower().partition("://")
    default = DEFAULT_PORTS.get(scheme)
    host, port = split_authority(rest)
    own_host, own_port = split_authority(authority)
    return default is not None and bool(host) and (host, port or default) == (own_host, own_port or default)


def shown(header: str | None) -> str:
    """Return a header's value for an error message: quoted, in ASCII, at most MAX_SHOWN_CHARACTERS characters."""
    return ascii((header or "")[:MAX_SHOWN_CHARACTERS])
