"""Keeps the sockets of supervisord's [fcgi-program] groups open while their program restarts.

supervisord counts the references to such a socket, and closes the socket when the last reference is released. So it
would close the socket whenever the group's only process exits. SocketHolder holds one more reference, so that new
connections wait in the backlog and are not refused.

`supervisorctl update` replaces a changed group, and the new group binds its own address. If the address is the same,
the new group gets the old group's socket.
"""

from typing import Any

STOPPED_GRACE_SECONDS = 3.0  # a stopped program's socket stays open so long; `supervisorctl restart` needs far less


class SocketHolder:
    """Holds one reference to the socket of each group. The caller passes the current time."""

    def __init__(self, grace_seconds: float = STOPPED_GRACE_SECONDS) -> None:
        self.grace_seconds = grace_seconds
        self._references: dict[str, Any] = {}
        self._socket_configs: dict[str, Any] = {}  # name of the group -> configuration of its socket
        self._idle_since: dict[str, float] = {}

    def started(self, group: Any) -> None:
        """Hold the socket of a group whose program starts. supervisord has just opened the socket."""
        name = group.config.name
        self._idle_since.pop(name, None)
        if name not in self._references and hasattr(group, "socket_manager"):
            self._hold(group)

    def added(self, group: Any) -> None:
        """Hold the socket of a new group; release the socket of an earlier group of the same name."""
        if hasattr(group, "socket_manager"):
            self._hold(group)
        else:
            self.release(group.config.name)

    def removed(self, name: str, successor: Any, now: float) -> None:
        """Pass the socket of a removed group on to its successor, or release it.

        `successor` is the socket configuration of the replacing group, or None if no group replaces the removed one.
        """
        if name not in self._references or successor is None or successor != self._socket_configs[name]:
            self.release(name)
            return
        bind = successor.create_and_bind
        # The new group calls this to open its socket, and gets the old socket with its waiting connections.
        successor.create_and_bind = lambda: self._references[name].dup() if name in self._references else bind()
        self._idle_since[name] = now

    def _hold(self, group: Any) -> None:
        manager = group.socket_manager
        # Take the new reference first, because overwriting the old reference releases it.
        self._references[group.config.name] = manager.get_socket()
        self._socket_configs[group.config.name] = manager.config()

    def stopped(self, group: Any, now: float) -> None:
        """Start the grace period of a group's socket after its program was stopped or given up."""
        if group.config.name in self._references:
            self._idle_since[group.config.name] = now

    def release_idle(self, now: float) -> None:
        """Release the sockets whose grace period is over."""
        for name, since in list(self._idle_since.items()):
            if not since <= now < since + self.grace_seconds:  # true also if the clock was set back
                self.release(name)

    def release(self, name: str) -> None:
        """Release the socket of a group; supervisord then closes it, unless the group's program still uses it."""
        self._idle_since.pop(name, None)
        self._socket_configs.pop(name, None)
        self._references.pop(name, None)  # CPython frees the reference at once, which decrements supervisord's count

    def release_all(self) -> None:
        """Release every socket."""
        for name in list(self._references):
            self.release(name)
