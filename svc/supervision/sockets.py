"""Keeps the sockets of supervisord's [fcgi-program] groups open while their program restarts.

supervisord counts the references to such a socket and closes it with the last
one: whenever its only process exits. One more reference, held here, lets new
connections wait in the backlog instead of being refused.
"""

from typing import Any

GRACE = 3.0  # seconds that a program may be stopped before its socket goes; `supervisorctl restart` needs far less


class Sockets:
    """The references, by group. Times come from the caller."""

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._held: dict[str, Any] = {}
        self._idle_since: dict[str, float] = {}

    def started(self, group: Any) -> None:
        """A program of the group starts, and supervisord has just opened its socket."""
        name = group.config.name
        self._idle_since.pop(name, None)
        if name not in self._held and hasattr(group, "socket_manager"):
            self._held[name] = group.socket_manager.get_socket()

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
        self._held.pop(name, None)  # the reference counts down when it is collected: at once

    def let_go_of_all(self) -> None:
        for name in list(self._held):
            self.let_go(name)
