"""What a web page may do to a server, by Host, Origin, Sec-Fetch-Site and Content-Type. Pure.

The decision about origins is that of Go's http.CrossOriginProtection: a browser names the origin of a request in
headers that no page can change. A request without these headers does not come from a browser.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from svc.base.errors import Forbidden, Misdirected, SvcError, UnsupportedMedia
from svc.perimeter.hosts import ANY, Hosts, split_authority

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OWN_SITES = frozenset(("same-origin", "none"))  # values of Sec-Fetch-Site; none: the user typed it
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_SHOWN_CHARACTERS = 100  # of a header, in a message


class Headers(Protocol):
    """A request's headers, under names in lower case."""

    def get(self, name: str, /) -> str | None: ...


class SettingNames(NamedTuple):
    """The names of one server's settings, for its error messages."""

    allowed_hosts: str
    cors_origins: str = ""  # empty: the server has no such setting


class BrowserRules:
    """The rules of one server; `origins` are those whose pages may write to it."""

    def __init__(self, hosts: Hosts, setting_names: SettingNames, origins: Collection[str] = ()) -> None:
        self.hosts = hosts
        self.origins = frozenset(origin.lower() for origin in origins)
        self._setting_names = setting_names

    def check(self, method: str, headers: Headers, from_proxy: bool = False) -> None:
        """Raise SvcError for a request that must be refused."""
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
        """Return whether the Host names the server.

        A trusted proxy passes on the name that its clients use; only the setting `allowed_hosts` can list that.
        """
        return self.hosts.admits(host) or (from_proxy and not self.hosts.listed)

    def allows(self, origin: str | None) -> bool:
        """Return whether the setting allows pages of this origin to write."""
        return bool(origin) and (ANY in self.origins or str(origin).lower() in self.origins)

    def refuses_origin(
        self, origin: str | None, site: str | None, host: str | None, header: Callable[[str], str | None]
    ) -> bool:
        """Return whether a write comes from a page that may not write.

        A proxy passes on the name that its clients use in X-Forwarded-Host. That header needs no trust: a page of
        another origin can send it only after a preflight request, which is refused.
        """
        if not origin and not site:
            return False
        if self.allows(origin):
            return False
        if site:
            return site not in OWN_SITES
        return not any(is_same_authority(str(origin), own) for own in (host, header("x-forwarded-host")) if own)

    def misdirected(self, host: str | None) -> SvcError:
        """Return the error for a Host that is not the server's."""
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
    """Raise UnsupportedMedia for a body of another type than JSON: browsers send some of them without a preflight."""
    media = content_type.partition(";")[0].strip().lower()
    if media and media != "application/json":
        raise UnsupportedMedia(f"Content-Type: {shown(media)} is not accepted; send application/json")


def is_same_authority(origin: str, authority: str) -> bool:
    """Return whether an Origin belongs to this Host; schemes may differ, as TLS may end at a proxy."""
    scheme, _, rest = origin.lower().partition("://")
    default = DEFAULT_PORTS.get(scheme)
    host, port = split_authority(rest)
    own_host, own_port = split_authority(authority)
    return default is not None and bool(host) and (host, port or default) == (own_host, own_port or default)


def shown(header: str | None) -> str:
    """Return a header's value for a message: quoted, in ASCII, MAX_SHOWN_CHARACTERS characters at most."""
    return ascii((header or "")[:MAX_SHOWN_CHARACTERS])
