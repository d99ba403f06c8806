"""The control process: it keeps the table, the health, the statistics and the page, and publishes what it decides.

It accepts the channels of the processes that relay: on each channel of updates, one greenlet receives reports, and
another sends snapshots (`publisher.py`).
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool
from gevent.socket import wait_read
from gunicorn.workers.ggevent import GeventWorker

from svc.base import garbage
from svc.perimeter.connection_pool import connection_limit
from svc.router.serve import WORKER_CONNECTIONS
from svc.router.workers.channel import Channel, ChannelClosed
from svc.router.workers.control_state import ControlState
from svc.router.workers.messages import OwnRequest, OwnResponse, WorkerReport
from svc.router.workers.publisher import Publisher, Recipient
from svc.router.wsgi import complete_environ, respond

if TYPE_CHECKING:  # the worker imports this module before gevent has patched the modules that the components use
    from svc.router.router_components import RouterComponents

log = logging.getLogger(__name__)
SWEEP_INTERVAL_SECONDS = 0.1
STOP_MARGIN_SECONDS = 2.5  # the control process outlives those that relay by this time
NOTIFY_INTERVAL_SECONDS = 1.0
DESCRIPTORS_PER_CHANNEL = 2
MIN_WAIT_INTERVAL_SECONDS = 0.02  # within this time, all requests that begin to wait are handled together
REQUEST_TIMEOUT_SECONDS = 10.0  # limit for a process to send the request for which it has opened a channel


class ControlWorker(GeventWorker):
    """The gunicorn worker in slot 0. Its application is `serve.RouterApplication`."""

    def run(self) -> None:
        for sock in self.sockets:
            sock.close()  # only the processes that relay may accept connections
        components: RouterComponents = self.app.components
        state = components.state
        assert isinstance(state, ControlState)
        log.info("this is the control process (pid %d)", self.pid)
        components.start()
        garbage.begin_collections()
        self._publisher = Publisher(state)
        self._answers = Pool(connection_limit(WORKER_CONNECTIONS, DESCRIPTORS_PER_CHANNEL))
        rounds = (self._publisher.run_round, self._accept, self._follow_waits)
        loops = [gevent.spawn(self._forever, run_round) for run_round in rounds]
        notified = 0.0
        while self.alive:
            state.now = time.monotonic()
            state.sweep()
            if state.now - notified >= NOTIFY_INTERVAL_SECONDS:
                notified = state.now
                self.notify()
            gevent.sleep(SWEEP_INTERVAL_SECONDS)
        self._shut_down(components, loops)

    def _forever(self, work: Callable[[], object]) -> None:
        while True:
            try:
                work()
            except Exception:  # noqa: BLE001 - the control process must go on
                log.exception("a round of the control process failed")
                gevent.sleep(SWEEP_INTERVAL_SECONDS)

    def _accept(self) -> None:
        """Accept a channel. If too many requests are being answered, close it: its request is answered with 503."""
        purpose, sock = self.app.group.listener.accept()
        channel = Channel(sock)
        if purpose != "request":
            gevent.spawn(self._serve, self._serve_updates if purpose == "updates" else self._synchronize, channel)
        elif self._answers.full():
            channel.close()
        else:
            self._answers.spawn(self._serve, self._answer, channel)

    def _follow_waits(self) -> None:
        """Wait until a request in any process begins to wait for a model that is asleep; then run the waker."""
        descriptor = self.app.group.counts.wakeup()
        wait_read(descriptor)
        with suppress(BlockingIOError):
            os.eventfd_read(descriptor)
        self.app.components.state.balancer.wakes.on_wait()
        gevent.sleep(MIN_WAIT_INTERVAL_SECONDS)

    def _serve(self, work: Callable[[Channel], None], channel: Channel) -> None:
        with closing(channel):
            try:
                work(channel)
            except (ChannelClosed, TimeoutError):
                pass
            except Exception:  # noqa: BLE001 - the failure of one channel must not end the others
                log.exception("a channel of the control process failed")

    def _serve_updates(self, channel: Channel) -> None:
        """Receive the reports of a process until it ends. Another greenlet sends it the snapshots."""
        state, trials = self.app.components.state, set[str]()
        recipient = Recipient(channel)
        self._publisher.recipients.add(recipient)
        sender = gevent.spawn(self._serve, lambda _: self._publisher.send_all(recipient), channel)
        try:
            while True:
                report = channel.receive(WorkerReport)
                state.record(report, trials)
                recipient.acknowledge(report.sync)
        finally:
            sender.kill()
            self._publisher.recipients.discard(recipient)
            recipient.end()
            state.control.abandon(trials)

    def _synchronize(self, channel: Channel) -> None:
        self._publisher.synchronize()
        channel.send(True)

    def _answer(self, channel: Channel) -> None:
        """Answer one request for the router's own endpoints."""
        request = channel.receive(OwnRequest, REQUEST_TIMEOUT_SECONDS)
        self._publisher.synchronize()
        response = respond(self.wsgi, complete_environ(request.variables, request.body))
        channel.send(OwnResponse(response.status, response.headers, response.body, response.parts is not None))
        if response.parts is not None:
            with closing(response.parts):
                for part in response.parts:
                    channel.send(part)

    def _shut_down(self, components: "RouterComponents", loops: list[Any]) -> None:
        """Wait until the processes that relay have ended and sent their last reports; then stop the components."""
        state = components.state
        state.draining = True
        components.feed.subscribers.end()
        limit = time.monotonic() + state.settings.graceful_timeout + STOP_MARGIN_SECONDS
        while self._publisher.recipients and time.monotonic() < limit:
            state.now = time.monotonic()
            state.sweep()
            self.notify()
            gevent.sleep(SWEEP_INTERVAL_SECONDS)
        gevent.killall(loops)
        components.stop()
