"""An instance that switches protocols and echoes what it receives."""

from tests.integration.router.instance import Peer, ReceivedRequest

SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)

UPGRADE = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a2V5")


def echoes(peer: Peer, received: ReceivedRequest) -> bool:
    """Switches, greets, and sends back what comes, until it is told to stop."""
    peer.send(SWITCHED + b"welcome")
    while (data := peer.sock.recv(65536)) and data != b"stop":
        peer.send(data)
    return False
