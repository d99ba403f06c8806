"""The URL and the options with which curl on this machine reaches a router that serves TLS."""

import dataclasses
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from svc.base.address import authority, is_loopback

HANDSHAKE_TIMEOUT_SECONDS = 2.0
MALFORMED_ADDRESS = "<invalid>"  # the ssl module returns this text for an address that it cannot parse
Names = Sequence[tuple[str, str]]  # pairs of kind (DNS, IP Address) and name, from a certificate


@dataclasses.dataclass(frozen=True, slots=True)
class CurlAccess:
    """The router's URL, and the options that curl needs to reach it."""

    url: str
    options: Sequence[str] = ()


def curl_access(url: str, certfile: str) -> CurlAccess:
    """Return how curl reaches the router at `url` on this machine. `certfile` is its certificate; "" means no TLS.

    curl can trust a server's certificate directly, as if it were a CA's, so the certificate of a private CA is not
    needed.
    """
    if not certfile:
        return CurlAccess(url)
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
    names = _certificate_names(host, port, certfile)
    if names is None:
        return CurlAccess(url, ("--cacert", certfile))
    ca = () if _certificate_names(host, port, None) is not None else ("--cacert", certfile)
    return access_by_name(host, port, names, ca)


def access_by_name(host: str, port: int, names: Names, ca: Sequence[str]) -> CurlAccess:
    """Return how curl reaches `host` and `port` under one of `names`; `ca` are curl's options for trust. Pure.

    1. The URL contains `host` if the certificate does. Else it contains localhost, if `host` is a loopback address and
    the certificate contains localhost.
    2. Any other name is used with --connect-to, because it may resolve to a different machine. The wildcard of a name
    is replaced by an arbitrary label.
    3. A certificate without names cannot be verified.
    """
    addresses = [
        str(ipaddress.ip_address(name)) for kind, name in names if kind == "IP Address" and name != MALFORMED_ADDRESS
    ]
    domains = [name.replace("*.", "router.") for kind, name in names if kind == "DNS"]
    if host in domains or host in addresses:
        return CurlAccess(f"https://{authority(host, port)}", ca)
    if is_loopback(host) and "localhost" in domains:
        return CurlAccess(f"https://localhost:{port}", ca)  # rule 1
    if name := next(iter([*domains, *addresses]), ""):
        route = f"{authority(name, port)}:{authority(host, port)}"
        return CurlAccess(f"https://{authority(name, port)}", (*ca, "--connect-to", route))  # rule 2
    return CurlAccess(f"https://{authority(host, port)}", ("--insecure",))  # rule 3


def _certificate_names(host: str, port: int, cafile: str | None) -> Names | None:
    """Return the names in a server's certificate; None if the certificate cannot be verified.

    `cafile` is the file with the CA certificates; None means this machine's CA certificates.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # like curl, trust a certificate that is no CA's
        with (
            socket.create_connection((host, port), HANDSHAKE_TIMEOUT_SECONDS) as sock,
            context.wrap_socket(sock) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except OSError:
        return None
    names: Names = certificate.get("subjectAltName", ())  # type: ignore[assignment]  # a union of every field's type
    return names
