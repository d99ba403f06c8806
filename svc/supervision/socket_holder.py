"""Keeps the sockets of supervisord's [fcgi-program] groups open while their program restarts.

supervisord counts the references to such a socket and closes it with the last one: whenever its only process exits.
One more reference, held here, lets new connections wait in the backlog instead of being refused.

`supervisorctl update` replaces a group that has changed, and the new group binds its address. Where the address is
the same, the new group gets the old group's socket.
"""

from typing import Any

STOPPED_GRACE_SECONDS = 3.0  # a stopped program keeps its socket so long; `supervisorctl restart` needs far less


class SocketHolder:
    """One reference to the socket of each group. Times come from the caller."""

    def __init__(self, grace_seconds: float = STOPPED_GRACE_SECONDS) -> None:
        self.grace_seconds = grace_seconds
        self._references: dict[str, Any] = {}
        self._addresses: dict[str, Any] = {}  # supervisord's socket configurations of the same groups
        self._idle_since: dict[str, float] = {}

    def started(self, group: Any) -> None:
        """Hold the socket of a group whose program starts: supervisord has just opened it."""
        name = group.config.name
        self._idle_since.pop(name, None)
        if name not in self._references and hasattr(group, "socket_manager"):
            self._hold(group)

    def added(self, group: Any) -> None:
        """Hold the socket of a new group; release the one that a group of the same name may have left."""
        if hasattr(group, "socket_manager"):
            self._hold(group)
        else:
            self.release(group.config.name)

    def removed(self, name: str, successor: Any, now: float) -> None:
        """Keep or release the socket of a removed group.

        `successor` is the socket configuration of the group that replaces it, None where no group does.
        """
        if name not in self._references or successor is None or successor != self._addresses[name]:
            self.release(name)
            return
        bind = successor.create_and_bind
        # The new group calls this to open its socket: it gets the old one with all connections that wait in it.
        successor.create_and_bind = lambda: self._references[name].dup() if name in self._references else bind()
        self._idle_since[name] = now

    def _hold(self, group: Any) -> None:
        manager = group.socket_manager
        # Take the new reference first: an old one is released as soon as it is overwritten.
        self._references[group.config.name] = manager.get_socket()
        self._addresses[group.config.name] = manager.config()

    def stopped(self, group: Any, now: float) -> None:
        """Start the grace period of a group whose program was stopped or given up."""
        if group.config.name in self._references:
            self._idle_since[group.config.name] = now

    def release_idle(self, now: float) -> None:
        """Release the sockets whose grace period is over."""
        for name, since in list(self._idle_since.items()):
            if not since <= now < since + self.grace_seconds:  # a clock set back must not hold a socket for ever
                self.release(name)

    def release(self, name: str) -> None:
        """Release the socket of a group; supervisord closes it when it holds no reference either."""
        self._idle_since.pop(name, None)
        self._addresses.pop(name, None)
        self._references.pop(name, None)  # CPython collects it at once, and so the reference counts down

    def release_all(self) -> None:
        """Release every socket."""
        for name in list(self._references):
            self.release(name)
