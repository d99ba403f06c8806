"""The ways in which a client leaves."""

import socket
import struct

from tests.integration.router.client import Client

NOTICED = 0.3  # seconds, and as many again for a busy machine


def closes(client: Client) -> None:
    client.sock.close()


def half_closes(client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)


def resets(client: Client) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


LEAVES = [closes, half_closes, resets]
