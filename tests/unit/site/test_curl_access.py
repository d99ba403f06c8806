"""The options with which curl reaches a router with TLS: each is tried with curl itself."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from svc.site.curl_access import CurlAccess, access_by_name, curl_access
from tests.integration.router.certificates import make_certificate

CA = ("--cacert", "c.pem")


class TlsServer:
    """Answers one request after the other with 204, over TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError), self._context.wrap_socket(sock, server_side=True) as secured:
                    secured.recv(4096)
                    secured.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator:
    """Return a function that serves with a certificate of these names, and returns the URL and the certificate."""
    servers = []

    def serve(names: str) -> tuple[str, str]:
        pair = make_certificate(tmp_path, "router", names)
        servers.append(TlsServer(pair.server()))
        return servers[-1].url, str(pair.cert)

    yield serve
    for server in servers:
        server.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "names",
    ["IP:127.0.0.1", "DNS:localhost", "DNS:gpu1.example.org", "DNS:*.example.org", "IP:10.1.2.3", "IP:fd00::7", ""],
)
def test_curl_reaches_the_router_with_what_it_is_given(serve, names):
    url, certificate = serve(names)
    access = curl_access(url, certificate)
    assert ("--insecure" in access.options) == (not names)
    command = ["curl", "-sS", "--noproxy", "*", "-w", "%{http_code}", *access.options, access.url]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == "204"


def test_a_router_without_tls_needs_nothing():
    assert curl_access("http://127.0.0.1:8000", "") == CurlAccess("http://127.0.0.1:8000")


def test_a_router_that_does_not_answer_gets_its_certificate(tmp_path):
    assert curl_access("https://127.0.0.1:9", "c.pem") == CurlAccess("https://127.0.0.1:9", CA)


@pytest.mark.parametrize(
    ("host", "names", "url", "options"),
    [
        ("127.0.0.1", [("DNS", "a.org"), ("IP Address", "127.0.0.1")], "https://127.0.0.1:1", CA),
        ("127.0.0.1", [("DNS", "a.org"), ("DNS", "localhost")], "https://localhost:1", CA),
        ("::1", [("IP Address", "0:0:0:0:0:0:0:1")], "https://[::1]:1", CA),
        ("gpu1.org", [("DNS", "gpu1.org")], "https://gpu1.org:1", CA),
        ("10.0.0.7", [("DNS", "localhost")], "https://localhost:1", (*CA, "--connect-to", "localhost:1:10.0.0.7:1")),
        ("127.0.0.1", [("IP Address", "<invalid>")], "https://127.0.0.1:1", ("--insecure",)),
        ("127.0.0.1", [], "https://127.0.0.1:1", ("--insecure",)),
    ],
)
def test_the_name_is_one_that_the_certificate_has(host, names, url, options):
    assert access_by_name(host, 1, names, CA) == CurlAccess(url, options)
