"""The channels between the processes of a router: pairs of sockets that only these processes can have.

gunicorn's master makes one pair of sockets, the door, before it forks. A process that relays makes a pair of its own
for each channel, keeps one end, and sends the other through the door:

    master          door <--------------------> door             inherited by every process
    process that relays | end --- (sent through the door) --> end | control process

A socket without a name cannot be reached by any other process, so what arrives is trusted as much as the process's own
memory. The door outlives the control process: the next control process takes the ends that wait in the door. The
kernel closes the ends that a killed control process had taken.
"""

import os
import socket

from svc.base.errors import Unavailable

DESCRIPTORS = 1  # in a message through the door
PURPOSE_BYTES = 16
OPEN_TIMEOUT_SECONDS = 10.0


class Door:
    """Both ends of the door. Make it before the fork; `open` a channel in one process, `accept` it in the other."""

    def __init__(self) -> None:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._outside, self._inside = (end.detach() for end in ends)  # descriptors: gevent wraps them after the fork

    def open(self, purpose: str) -> socket.socket:
        """Return one end of a new channel to the control process, also while that process is being started anew.

        Raise Unavailable if other channels wait there already, and none is taken within OPEN_TIMEOUT_SECONDS.
        """
        own, other = socket.socketpair()
        with other, socket.socket(fileno=os.dup(self._outside)) as door:
            door.settimeout(OPEN_TIMEOUT_SECONDS)
            try:
                socket.send_fds(door, [purpose.encode()], [other.fileno()])
            except OSError:
                own.close()
                raise Unavailable("the router's control process does not answer; try again") from None
        return own

    def accept(self) -> tuple[str, socket.socket]:
        """Wait for the next channel; return its purpose and its end."""
        with socket.socket(fileno=os.dup(self._inside)) as door:
            purpose, descriptors, _, _ = socket.recv_fds(door, PURPOSE_BYTES, DESCRIPTORS)
        return purpose.decode(), socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        for descriptor in (self._outside, self._inside):
            os.close(descriptor)
