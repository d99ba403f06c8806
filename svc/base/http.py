"""HTTP requests of the control plane to servers on this machine or in the same cluster."""

import socket
import ssl
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

TCP_OPTIONS = {
    "TCP_KEEPIDLE": 1,  # seconds until the first keepalive probe
    "TCP_KEEPINTVL": 1,  # seconds between two probes
    "TCP_KEEPCNT": 3,  # unanswered probes after which the connection ends
    "TCP_USER_TIMEOUT": 4000,  # milliseconds within which sent data must be acknowledged
}


class KeepaliveAdapter(HTTPAdapter):
    """An adapter of the `requests` library for long polls: TCP keepalive checks the connection every second."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        socket_options = [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in TCP_OPTIONS.items()]
        socket_options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        super().init_poolmanager(*args, socket_options=socket_options, **options)


def fetch(
    method: str, url: str, timeout: float | tuple[float, float], keepalive: bool = False, **options: Any
) -> requests.Response:
    """Send a request like `requests.request`, but use no proxy and no .netrc, and follow no redirects.

    With `keepalive`, the loss of the server is detected within seconds, even while the request waits for an answer.
    """
    if options.get("verify") is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with requests.Session() as session:
        session.trust_env = False
        if keepalive:
            for scheme in ("http://", "https://"):
                session.mount(scheme, KeepaliveAdapter())
        return session.request(method, url, timeout=timeout, allow_redirects=False, **options)


def system_ca() -> str | None:
    """Return the path of this machine's CA certificates. By default, the `requests` library uses certifi's instead."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath
