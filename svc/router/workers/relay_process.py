"""A process that relays beside others: its components, and its link to the control process.

The link has one channel of updates, which is opened anew when the control process has been replaced. Until then the
process goes on with the last snapshot, and keeps its counts. An observation that may change an instance's health is
reported at once, everything else ten times a second.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

from gevent.socket import wait_read

from svc.base.errors import Unavailable
from svc.base.loop import Loop
from svc.perimeter.hosts import Hosts
from svc.router.balance.object_owners import ObjectOwners
from svc.router.http.request import Request
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.channel_listener import ChannelListener
from svc.router.workers.messages import OwnRequest, OwnResponse, Snapshot, Sync
from svc.router.workers.relay_state import RelayState
from svc.router.workers.shared_counts import SharedCounts
from svc.router.wsgi import Answer, WsgiResponse, request_variables
from svc.settings import RouterSettings

log = logging.getLogger(__name__)
REPORT_INTERVAL_SECONDS = 0.1
RECONNECT_INTERVAL_SECONDS = 0.1
RESPONSE_TIMEOUT_SECONDS = 30.0  # limit for the answer of a control process, even one that has just been started
SYNC_TIMEOUT_SECONDS = 2.0
PART_TIMEOUT_SECONDS = 60.0  # limit for the control process to send the next part of an event stream


class RelayComponents:
    """The components of a process that relays beside others: its state, and its link to the control process."""

    def __init__(
        self,
        settings: RouterSettings,
        hosts: Hosts,
        counts: SharedCounts,
        listener: ChannelListener,
        objects: ObjectOwners | None = None,
    ) -> None:
        self._counts = counts
        self._link = ControlLink(listener)
        self.state = RelayState(settings, hosts, counts, self._link.wake, self._link.synchronize, objects)

    def start(self) -> None:
        """Connect to the control process, and wake waiting requests when another process frees a place."""
        self._link.start(self.state)
        threading.Thread(target=self._follow_wakeups, name="wake-ups", daemon=True).start()

    def answerer(self, app: Callable[..., Any]) -> Answer:
        """Return the function that answers requests for the router's own endpoints: it asks the control process."""
        return self._link.answer

    def can_accept(self) -> bool:
        """Return whether the first snapshot has come, so that connections can be accepted."""
        return self._link.connected.is_set()

    def end_streams(self) -> None:
        """Do nothing: the router's own event streams are those of the control process, which ends them."""

    def stop(self) -> None:
        self._link.stop()
        if self.state.access_log is not None:
            self.state.access_log.flush()
        self.state.upstream_pool.close()

    def _follow_wakeups(self) -> None:
        descriptor = self._counts.wakeup()
        while True:
            wait_read(descriptor)
            with suppress(BlockingIOError):
                os.eventfd_read(descriptor)
            self.state.relay_balancer.queue.wake_own()


class ControlLink:
    """The link of a process that relays to the control process."""

    def __init__(self, listener: ChannelListener) -> None:
        self._listener = listener
        self._state: RelayState | None = None
        self._channel: Channel | None = None
        self._reports = Loop("reports", self._send_report, REPORT_INTERVAL_SECONDS)
        self._snapshots = Loop("snapshots", self._receive_snapshots, RECONNECT_INTERVAL_SECONDS)
        self.connected = threading.Event()  # set by the first snapshot

    @property
    def wake(self) -> Callable[[], None]:
        """A function that makes the link send a report at once."""
        return self._reports.wake

    def start(self, state: RelayState) -> None:
        self._state = state
        self._snapshots.start()
        self._reports.start()

    def stop(self) -> None:
        """Send the last report, and close the channel."""
        self._reports.stop()
        self._send_report()
        self._snapshots.stop(timeout=0)
        if self._channel is not None:
            self._channel.close()

    def _receive_snapshots(self) -> float:
        """Receive snapshots until the control process ends; then open a new channel in the next round."""
        assert self._state is not None
        channel = Channel(self._listener.connect("updates"))
        self._state.reported_poison.report_all()
        self._channel = channel
        try:
            while True:
                message = channel.receive(Snapshot | Sync)
                if isinstance(message, Sync):
                    self._state.report_at_once(message.number)
                else:
                    self._state.adopt(message)
                    self.connected.set()
        except ChannelClosed:
            self._channel = None
            channel.close()
        return RECONNECT_INTERVAL_SECONDS

    def _send_report(self) -> None:
        """Send a report if there is something new.

        Without a control process, keep it: counts add up until there is one.
        """
        assert self._state is not None
        channel = self._channel
        if channel is None or not self.connected.is_set():
            return
        report = self._state.take_report()
        if report is not None:
            try:
                channel.send(report)
            except ChannelClosed:
                log.info("a report is lost: the control process has ended")

    def synchronize(self) -> None:
        """Wait until all processes use what this one has reported, but at most SYNC_TIMEOUT_SECONDS."""
        with (
            suppress(Unavailable, ChannelClosed, TimeoutError),
            closing(Channel(self._listener.connect("sync"))) as channel,
        ):
            channel.receive(bool, SYNC_TIMEOUT_SECONDS)

    def answer(self, request: Request, address: str) -> WsgiResponse:
        """Return the control process's response to a request for the router's own endpoints; raise Unavailable."""
        channel = Channel(self._listener.connect("request"))
        try:
            channel.send(OwnRequest(request_variables(request, address), request.body))
            response = channel.receive(OwnResponse, RESPONSE_TIMEOUT_SECONDS)
        except (ChannelClosed, TimeoutError):
            channel.close()
            raise Unavailable("the router's control process does not answer; try again") from None
        except BaseException:
            channel.close()
            raise
        if response.streams:
            return WsgiResponse(response.status, response.headers, parts=ResponseParts(channel))
        channel.close()
        return WsgiResponse(response.status, response.headers, response.body)


class ResponseParts(Iterator[bytes]):
    """The parts of one of the router's own event streams. The iterating caller must call `close`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.close = channel.close

    def __next__(self) -> bytes:
        try:
            return bytes(self._channel.receive(bytes, PART_TIMEOUT_SECONDS))
        except (ChannelClosed, TimeoutError):
            raise StopIteration from None
