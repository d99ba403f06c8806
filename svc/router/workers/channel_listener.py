"""The listener for the channels between the processes of a router: pairs of sockets that only these processes have.

gunicorn's master makes the listener before it forks: one pair of datagram sockets, which every process inherits. A
process that relays makes a pair of its own for each channel, keeps one end, and sends the other to the control process:

    process that relays                                       control process
    connect()   one end of a new pair -- listener's pair -->  accept()
    the other end  <----------------- channel ------------->  the end that was sent

A socket without a name cannot be reached by any other process, so what arrives is trusted as much as the process's own
memory. The listener outlives the control process: the next control process accepts the ends that wait. The kernel
closes the ends that a killed control process had accepted.
"""

import os
import socket

from svc.base.errors import Unavailable

DESCRIPTORS = 1  # number of descriptors in a message to the control process
PURPOSE_BYTES = 16
CONNECT_TIMEOUT_SECONDS = 10.0


class ChannelListener:
    """Make it before the fork. A process that relays calls `connect`, and the control process calls `accept`."""

    def __init__(self) -> None:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._client_end, self._server_end = (
            end.detach() for end in ends
        )  # descriptors: gevent wraps them after the fork

    def connect(self, purpose: str) -> socket.socket:
        """Return one end of a new channel to the control process, also while that process is being started anew.

        Raise Unavailable if the queue of channels is full, and the control process accepts none of them within
        CONNECT_TIMEOUT_SECONDS.
        """
        own, other = socket.socketpair()
        with other, socket.socket(fileno=os.dup(self._client_end)) as sender:
            sender.settimeout(CONNECT_TIMEOUT_SECONDS)
            try:
                socket.send_fds(sender, [purpose.encode()], [other.fileno()])
            except OSError:
                own.close()
                raise Unavailable("the router's control process does not answer; try again") from None
        return own

    def accept(self) -> tuple[str, socket.socket]:
        """Wait for the next channel; return its purpose and its end."""
        with socket.socket(fileno=os.dup(self._server_end)) as receiver:
            purpose, descriptors, _, _ = socket.recv_fds(receiver, PURPOSE_BYTES, DESCRIPTORS)
        return purpose.decode(), socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        for descriptor in (self._client_end, self._server_end):
            os.close(descriptor)
