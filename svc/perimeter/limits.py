"""The limits that a server puts on its connections: a deadline for each, and room for the next one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from svc.perimeter.client_socket import ClientSocket, ClientSockets
from svc.perimeter.connections import Deadlines
from svc.perimeter.pool import ConnectionPool, connection_limit


class ConnectionLimits:
    """Up to `most` clients, each with `descriptors_each`. Serve them in `pool`, and call `sweep` once a second."""

    def __init__(self, deadlines: Deadlines, most: int, descriptors_each: int = 1) -> None:
        self.clients = ClientSockets(deadlines)
        size = connection_limit(most, descriptors_each)
        self.pool = ConnectionPool(size, lambda: self.clients.open, time.monotonic)

    @contextmanager
    def client(self, sock: Any, address: str) -> Iterator[ClientSocket]:
        """Yield the connection under these limits; it is closed at the end, also when the client has broken it off."""
        client = ClientSocket(sock, address)
        self.clients.open.add(client)
        try:
            yield client
        except OSError:  # the client broke it off
            pass
        finally:
            self.clients.open.discard(client)
            client.close()

    def sweep(self) -> None:
        """End what has waited for too long, and close idle connections if the limit is reached."""
        self.clients.sweep()
        self.pool.shed_if_full()
