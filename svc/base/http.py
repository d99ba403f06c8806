"""HTTP requests of the control plane, to this machine or its neighbours."""

import socket
import ssl
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

ALIVE = {  # seconds, seconds, how many, and milliseconds for what was sent
    "TCP_KEEPIDLE": 1,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 4000,
}


class Patient(HTTPAdapter):
    """For an answer that is waited for long: the kernel asks each second whether the other side is still there."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        options = [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in ALIVE.items()]
        options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        super().init_poolmanager(*args, socket_options=options, **more)


def fetch(
    method: str, url: str, timeout: float | tuple[float, float], patient: bool = False, **told: Any
) -> requests.Response:
    """As requests.request, but deaf to the environment: no proxy, no .netrc, no redirect."""
    if told.get("verify") is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with requests.Session() as session:
        session.trust_env = False
        if patient:
            for scheme in ("http://", "https://"):
                session.mount(scheme, Patient())
        return session.request(method, url, timeout=timeout, allow_redirects=False, **told)


def system_ca() -> str | None:
    """Return the path of this machine's CA certificates; without it requests uses those of certifi."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath
