"""Scripts of instances that fail."""

import socket
import struct

from tests.integration.router.instance import Peer, ReceivedRequest


def closes(peer: Peer, received: ReceivedRequest) -> bool:
    return False


def resets(peer: Peer, received: ReceivedRequest) -> bool:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
