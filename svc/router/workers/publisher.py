"""Publishes the control process's snapshots to the processes that relay.

Each recipient has a greenlet that sends it the newest snapshot: a process that is slow or stopped misses snapshots, and
delays no other process. `synchronize` returns once every process uses the present snapshot and has reported its counts.
It is called before the router reports about itself, so that a client may rely on what it reads, such as a drain.
"""

import itertools
import threading
import time

from svc.router.workers.channel import Channel
from svc.router.workers.control_state import ControlState
from svc.router.workers.messages import Sync, encode

CHECK_INTERVAL_SECONDS = 0.5  # a round waits up to this long for a change
MIN_INTERVAL_SECONDS = 0.02  # minimum between two snapshots, because failing requests may cause hundreds of changes
INTERVAL_SECONDS_PER_INSTANCE = 0.0001  # for large tables: a process takes 15 us per instance to use a new table
REPUBLISH_SECONDS = 5.0  # a snapshot is composed anew after this time even if nothing seems to have changed
SYNC_TIMEOUT_SECONDS = 0.5  # `synchronize` waits this long for processes that do not report
MAX_SYNCS = 2  # two, because the reports after the first may change the snapshot


class Recipient:
    """One process that relays: what it has been sent, and the Sync that it has answered last."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.sent = b""
        self.wanted_sync = self.sent_sync = 0
        self._answered_sync = 0
        self._ended = False
        self.wake = threading.Event()
        self._changed = threading.Condition()

    def acknowledge(self, sync: int) -> None:
        with self._changed:
            self._answered_sync = max(self._answered_sync, sync)
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, sync: int, timeout: float) -> None:
        """Wait until the process has answered this Sync or a later one, or has ended, but not longer than `timeout`."""
        with self._changed:
            self._changed.wait_for(lambda: self._answered_sync >= sync or self._ended, timeout)


class Publisher:
    """The newest snapshot, and the processes that get it. `run_round` is called again and again."""

    def __init__(self, state: ControlState) -> None:
        self.recipients: set[Recipient] = set()
        self._state = state
        self._composed_at = float("-inf")
        self._encoded = b""
        self._syncs = itertools.count(time.time_ns())  # a late answer to an earlier control process matches no Sync

    def run_round(self) -> None:
        """Wait for a change for CHECK_INTERVAL_SECONDS at most, and publish a new snapshot if there is one."""
        interval = max(MIN_INTERVAL_SECONDS, INTERVAL_SECONDS_PER_INSTANCE * len(self._state.balancer.table.targets))
        time.sleep(max(0.0, self._composed_at + interval - self._state.clock()))
        changed = self._state.changed.wait(CHECK_INTERVAL_SECONDS)
        self._publish(changed)

    def _publish(self, changed: bool) -> None:
        state = self._state
        if changed or state.clock() - self._composed_at >= REPUBLISH_SECONDS:
            state.changed.clear()
            self._composed_at = state.clock()
            self._encoded = encode(state.snapshot())
            for recipient in self.recipients:
                recipient.wake.set()

    def send_all(self, recipient: Recipient) -> None:
        """Send a process each new snapshot and each Sync, in the order in which they were made, until it has ended."""
        while True:
            recipient.wake.clear()
            if self._encoded and self._encoded != recipient.sent:
                recipient.sent = self._encoded
                recipient.channel.send_encoded(recipient.sent)
            elif recipient.wanted_sync > recipient.sent_sync:
                recipient.sent_sync = recipient.wanted_sync
                recipient.channel.send(Sync(recipient.sent_sync))
            else:
                recipient.wake.wait()

    def synchronize(self) -> None:
        """Return once all processes use the present snapshot, and their counts so far are in the statistics."""
        for _ in range(MAX_SYNCS):
            self._publish(self._state.changed.is_set())
            published, number, recipients = self._encoded, next(self._syncs), list(self.recipients)
            for recipient in recipients:
                recipient.wanted_sync = number
                recipient.wake.set()
            deadline = time.monotonic() + SYNC_TIMEOUT_SECONDS
            for recipient in recipients:
                recipient.wait(number, max(0.0, deadline - time.monotonic()))
            if self._encoded == published and not self._state.changed.is_set():
                return
