"""Routers and instances that speak TLS."""

import ssl
from contextlib import suppress
from pathlib import Path

from tests.integration.router.certificates import Certificate
from tests.integration.router.client import Client, get
from tests.integration.router.instance import Instance, Peer
from tests.integration.router.routers import Router, router
from tests.waiting import wait_until


class Secure(Instance):
    """An instance that speaks TLS."""

    def __init__(self, pair: Certificate) -> None:
        self._context = pair.server()
        super().__init__()

    def _serve(self, peer: Peer) -> None:
        with suppress(OSError):
            peer.sock = self._context.wrap_socket(peer.sock, server_side=True)
            super()._serve(peer)


class serving:
    """A router with TLS; `router` itself would ask for its readiness in plain HTTP."""

    def __init__(self, pair: Certificate, services: Path, *flags: object) -> None:
        tls = ("--certfile", pair.cert, "--keyfile", pair.key)
        self._pair = pair
        self._context = router("--static-services", services, *tls, *flags, ready=False)

    def __enter__(self) -> Router:
        running = self._context.__enter__()
        wait_until(lambda: self.ready(running) and running.is_complete(), description="the router to be ready")
        return running

    def __exit__(self, *_: object) -> None:
        self._context.__exit__(None, None, None)

    def ready(self, running: Router) -> bool:
        assert running.process.poll() is None, running.output()
        with suppress(ConnectionRefusedError), secure(running, self._pair) as client:
            return client.send(get(b"/readyz")).answer().status == 200
        return False


def secure(running: Router, pair: Certificate, strict: bool = False) -> Client:
    """`strict`: an end without TLS's goodbye is an error, whatever OpenSSL thinks of it."""
    client = Client(running.port)
    context = ssl.create_default_context(cafile=str(pair.cert))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if strict:
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    client.sock = context.wrap_socket(client.sock, server_hostname="localhost", suppress_ragged_eofs=False)
    return client
