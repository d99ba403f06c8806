"""gunicorn's master for a router with several processes.

gunicorn counts the processes of all groups together. While a HUP replaces a group, the old group still finishes its
requests. So gunicorn then counts more processes than it needs, and does not replace a process of the new group that
ends.
"""

from typing import TYPE_CHECKING

from gunicorn.arbiter import Arbiter

if TYPE_CHECKING:
    from svc.router.serve import RouterApplication


class GroupArbiter(Arbiter):
    """A master that keeps the newest group complete, also while older groups still have processes."""

    app: "RouterApplication"

    def spawn_worker(self) -> int | None:
        """Fork a process of the newest group; return its pid, None if the group is complete."""
        return super().spawn_worker() if self.app.group.missing else None

    def reap_workers(self) -> None:
        """Reap processes that have ended; gunicorn calls this ten times a second while it waits for an old group."""
        super().reap_workers()
        stops = not self.LISTENERS
        if not stops and self.app.replaces_a_group:
            for _ in range(self.app.group.missing):
                self.spawn_worker()
        self.app.check_locks()

    def murder_workers(self) -> None:
        """Kill processes that hang; gunicorn calls this once a second."""
        super().murder_workers()
        self.app.check_locks()
