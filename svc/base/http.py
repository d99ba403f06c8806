"""HTTP requests of the control plane to servers on this machine or in the same cluster."""

import functools
import socket
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from svc.base.deadline import Deadline

TCP_OPTIONS = {
    "TCP_KEEPIDLE": 1,  # seconds until the first keepalive probe
    "TCP_KEEPINTVL": 1,  # seconds between two probes
    "TCP_KEEPCNT": 3,  # unanswered probes after which the connection ends
    "TCP_USER_TIMEOUT": 4000,  # milliseconds within which sent data must be acknowledged
}


MAX_READ_TIMEOUTS = 3  # limit for a whole request, as a multiple of the read timeout, which each byte restarts
MAX_RESPONSE_BYTES = 64 << 20
CHUNK_BYTES = 64 << 10


class _HttpConnection(urllib3.connection.HTTPConnection):
    def __init__(self, deadline: Deadline, **options: Any) -> None:
        super().__init__(**options)
        self._deadline = deadline

    def _new_conn(self) -> socket.socket:
        return self._deadline.watch(super()._new_conn())


class _HttpsConnection(_HttpConnection, urllib3.connection.HTTPSConnection):
    """An HTTPS connection that a deadline ends. The methods of `_HttpConnection` extend those of HTTPSConnection."""


class _Adapter(HTTPAdapter):
    """An adapter of the `requests` library whose connections a deadline ends.

    With `keepalive`, for long polls, TCP keepalive checks the connection every second.
    """

    def __init__(self, deadline: Deadline, keepalive: bool) -> None:
        self._deadline = deadline
        self._keepalive = keepalive
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        if self._keepalive:
            socket_options = [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in TCP_OPTIONS.items()]
            socket_options += [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
            options["socket_options"] = socket_options
        super().init_poolmanager(*args, **options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **options)
        connection = _HttpsConnection if pool.scheme == "https" else _HttpConnection
        pool.ConnectionCls = functools.partial(connection, self._deadline)  # type: ignore[attr-defined]  # the stubs lack it
        return pool


def fetch(
    method: str,
    url: str,
    timeout: float | tuple[float, float],
    keepalive: bool = False,
    stream: bool = False,
    total: float | None = None,
    **options: Any,
) -> requests.Response:
    """Send a request like `requests.request`, but use no proxy and no .netrc, and follow no redirects.

    `timeout` (seconds) limits the connection and each read. `total` limits the whole request; without it, the limit is
    the sum of the connection's timeout and MAX_READ_TIMEOUTS read timeouts. With `keepalive`, the loss of the server is
    detected within seconds, even while the request waits for an answer. With `stream`, the caller reads the body, and
    limits its time and its size.
    """
    if options.get("verify") is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    deadline = Deadline()
    with requests.Session() as session:
        session.trust_env = False
        adapter = _Adapter(deadline, keepalive)
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        try:
            with deadline.limit(connect + MAX_READ_TIMEOUTS * read if total is None else total):
                answer = session.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **options)
                if not stream:
                    answer._content = _body(answer)  # read here, because `requests` would read a body of any size
        except TimeoutError as error:
            raise requests.ReadTimeout(str(error)) from None
        return answer


def _body(answer: requests.Response) -> bytes:
    """Return the body of a response; raise requests.RequestException if it is larger than MAX_RESPONSE_BYTES."""
    body = bytearray()
    try:
        for chunk in answer.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                answer.close()
                raise requests.exceptions.ContentDecodingError(f"{answer.url}: more than {MAX_RESPONSE_BYTES} bytes")
    except requests.ConnectionError as error:
        if error.args and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):
            raise requests.ReadTimeout(*error.args) from None  # the same error as for a timeout within the head
        raise
    return bytes(body)
