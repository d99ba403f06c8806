"""Keeps the sockets of supervisord's [fcgi-program] groups open while their program restarts.

supervisord counts the references to such a socket and closes it with the last
one: whenever its only process exits. One more reference, held here, lets new
connections wait in the backlog instead of being refused.

`supervisorctl update` replaces a group that has changed, and the new group binds
its address. Where that is the old one's, it gets the old one's socket.
"""

from typing import Any

GRACE = 3.0  # seconds that a program may be stopped before its socket goes; `supervisorctl restart` needs far less


class Sockets:
    """The references, by group. Times come from the caller."""

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._held: dict[str, Any] = {}
        self._addresses: dict[str, Any] = {}  # of those, supervisord's socket configurations
        self._idle_since: dict[str, float] = {}

    def started(self, group: Any) -> None:
        """A program of the group starts, and supervisord has just opened its socket."""
        name = group.config.name
        self._idle_since.pop(name, None)
        if name not in self._held and hasattr(group, "socket_manager"):
            self._hold(group)

    def added(self, group: Any) -> None:
        """The group is there; one that went before it may have left its socket."""
        if hasattr(group, "socket_manager"):
            self._hold(group)
        else:
            self.let_go(group.config.name)

    def removed(self, name: str, coming: Any, now: float) -> None:
        """The group is gone; `coming`: the socket configuration of the one that takes its place, if one does."""
        if name not in self._held or coming is None or coming != self._addresses[name]:
            self.let_go(name)
            return
        bind = coming.create_and_bind
        # Its group opens it with this: the old socket while that is held, with all that waits in it.
        coming.create_and_bind = lambda: self._held[name].dup() if name in self._held else bind()
        self._idle_since[name] = now

    def _hold(self, group: Any) -> None:
        manager = group.socket_manager
        # The new reference first: one before it goes when it is collected, at once.
        self._held[group.config.name] = manager.get_socket()
        self._addresses[group.config.name] = manager.config()

    def stopped(self, group: Any, now: float) -> None:
        """A program of the group was stopped by hand, or was given up."""
        if group.config.name in self._held:
            self._idle_since[group.config.name] = now

    def let_go_of_idle(self, now: float) -> None:
        for name, since in list(self._idle_since.items()):
            if not since <= now < since + self.grace:  # a clock that was set back must not hold it for ever
                self.let_go(name)

    def let_go(self, name: str) -> None:
        self._idle_since.pop(name, None)
        self._addresses.pop(name, None)
        self._held.pop(name, None)  # the reference counts down when it is collected: at once

    def let_go_of_all(self) -> None:
        for name in list(self._held):
            self.let_go(name)
