"""A request's story: ask, pick, send, read, pass on, and one report at the end.

`forward` returns once the head of an answer is there. Up to three instances
are tried, only while nothing has been passed on, and only after a failure that
means the request was not processed: refused, no connection in time, closed
before the first byte, or the instance's own 503.
"""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec

from svc.errors import BadGateway, GatewayTimeout, SvcError, Unavailable, body
from svc.router.ask import Ask, parse
from svc.router.message import Request
from svc.router.state import State
from svc.router.table import Target
from svc.router.upstream import Upstream, UpstreamError

log = logging.getLogger(__name__)

ATTEMPTS = 3
EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
HELD_LIMIT = 1 << 20  # bytes of one event that are waited for before it is passed on in parts
REQUEST_IDS = (b"x-correlation-id", b"request-id")


class ClientGone(Exception):
    """Nobody is there to answer."""


class Cut(Exception):
    """The answer broke off after part of it was passed on; a client must see that it is not whole."""


class Exchange:
    """One relayed request, from the pick to the report; read it to the end, and always close it.

    `interrupt` is for whoever watches it from outside: the sweeper.
    """

    __slots__ = (
        "_closed", "_failed", "_held", "_load", "_started", "_unreachable", "attempts", "cut", "events", "request",
        "request_id", "state", "upstream",
    )  # fmt: skip

    def __init__(self, state: State, request: Request) -> None:
        self.state = state
        self.request = request
        self.upstream: Upstream | None = None
        self.request_id = request_id(request) or state.request_id()
        self.cut = ""  # "client", "timeout" or "stopping"
        self.attempts = 0
        self.events = False  # whether the answer is a stream of events
        self._load: Target | None = None
        self._started = 0.0
        self._held = b""
        self._failed = self._unreachable = self._closed = False

    # Asking.

    def open(self, client_address: bytes) -> None:
        """Gets an instance to answer; raises SvcError, or ClientGone."""
        ask = parse(self.request)
        tried: tuple[str, ...] = ()
        target = self.state.pick(ask)
        while True:
            assert target is not None
            self.attempts += 1
            try:
                upstream = self._attempt(target, client_address)
                failure: SvcError | None = None
            except UpstreamError as error:
                if self.cut:
                    raise self._cut_error() from None
                failure = self._failure(error, target)
                if error.processed:
                    raise failure from None
            if failure is None and upstream.status != 503:
                break
            tried = (*tried, target.name)
            target = self._another(ask, tried)
            if target is None:
                if failure is not None:
                    raise failure
                break  # the instance's own 503 says best what is wrong
            self.state.retries += 1
            self._report(unreachable=failure is not None, failed=True)
        for name, value in upstream.headers:
            if len(name) == 12 and name.lower() == b"content-type":
                self.events = value.lower().startswith(b"text/event-stream") and self._legible(upstream)

    @staticmethod
    def _legible(upstream: Upstream) -> bool:
        """Whether an event can be added: neither the length is told, nor is the body compressed."""
        return upstream.length is None and all(name.lower() != b"content-encoding" for name, _ in upstream.headers)

    def _another(self, ask: Ask, tried: tuple[str, ...]) -> Target | None:
        if len(tried) >= ATTEMPTS:
            return None
        try:
            return self.state.pick(ask, tried)
        except Unavailable:
            return None

    def _attempt(self, target: Target, client_address: bytes) -> Upstream:
        self._begin(target)
        message = self._message(target, client_address)
        head_only = self.request.method == b"HEAD"
        upstream = self.state.connections.take(target, self.state.now)
        while True:
            fresh = upstream is None
            if upstream is None:
                upstream = self.state.connections.connect(target)
            self.upstream = upstream
            if self.cut:
                raise self._cut_error()
            upstream.ask(message, head_only)
            try:
                upstream.read_head()
                return upstream
            except UpstreamError:
                if self.cut or fresh or not upstream.untouched:
                    raise
            upstream.close()  # it had been closed while idle: that is nobody's failure
            self.upstream = upstream = None

    def _message(self, target: Target, client_address: bytes) -> bytes:
        request = self.request
        forwarded = request.special.get(b"x-forwarded-for")
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%bX-Forwarded-For: %b\r\nx-request-id: %b\r\n" % (
            request.method,
            request.target,
            target.authority.encode(),
            b"".join([b"%b: %b\r\n" % header for header in request.headers]),
            b"%b, %b" % (forwarded, client_address) if forwarded else client_address,
            self.request_id,
        )
        if request.has_body():
            return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(request.body), request.body)
        return head + b"\r\n"

    def _failure(self, error: UpstreamError, target: Target) -> SvcError:
        self._failed = self._unreachable = True
        log.warning("%s %s: %s", self.request_id.decode("latin-1"), target.name, error)
        kind = GatewayTimeout if error.timeout else BadGateway
        return kind(f"cannot reach an instance: {target.name}: {error}")

    def _cut_error(self) -> Exception:
        if self.cut == "client":
            return ClientGone()
        if self.cut == "stopping":
            return Unavailable("the router is stopping; send the request again")
        self._failed = True
        return GatewayTimeout(f"no whole answer within {self.state.settings.proxy_timeout:g} s")

    # Passing on.

    def read(self) -> bytes:
        """More of the answer's body, nothing at its end; of an event stream only whole events.

        A stream of events that breaks off ends with an error event, any other
        answer raises Cut.
        """
        upstream = self.upstream
        assert upstream is not None
        try:
            data = upstream.read()
            if not self.events:
                return data
            if self._held:
                data, self._held = self._held + data, b""
            while data and not data.endswith(EVENT_ENDS):
                end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)
                if end > 1:
                    self._held = data[end:]
                    return data[:end]
                if upstream.done or len(data) > HELD_LIMIT:
                    return data
                self._held = data
                data += upstream.read()
                self._held = b""
            return data
        except UpstreamError as error:
            if self.cut == "client":
                raise ClientGone from None
            self._failed = True
            self._unreachable = not self.cut
            told = self._cut_error() if self.cut else BadGateway(f"the instance's answer broke off: {error}")
            log.warning("%s %s: %s", self.request_id.decode("latin-1"), upstream.target.name, told)
            if not self.events:
                raise Cut(str(told)) from None
            upstream.done, upstream.keep = True, False
            self._held = b""
            assert isinstance(told, SvcError)
            return b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(body(told))

    def finished(self) -> bool:
        """Whether everything has been read."""
        return self.upstream is not None and self.upstream.done and not self._held

    def interrupt(self, reason: str) -> None:
        """Ends it from outside: whoever waits for the instance wakes."""
        self.cut = self.cut or reason
        if self.upstream is not None:
            with suppress(OSError):
                self.upstream.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The end, however it came: the connection kept or closed, the counts released exactly once."""
        if not self._closed:
            self._closed = True
            self._report(self._unreachable, self._failed)

    def _begin(self, target: Target) -> None:
        self._load = target
        self._started = self.state.clock()
        self.state.begin(target.name)

    def _report(self, unreachable: bool, failed: bool) -> None:
        upstream, self.upstream = self.upstream, None
        self._failed = self._unreachable = False
        if upstream is not None:
            upstream.keep = upstream.keep and not self.cut  # what was cut is shut down
            self.state.connections.give(upstream, self.state.now)
        if self._load is not None:
            name, self._load = self._load.name, None
            bad = upstream is not None and upstream.status >= 500
            self.state.observe(name, self.state.clock() - self._started, failed or bad, unreachable)


def forward(state: State, request: Request, client_address: bytes, watch: Callable[[Exchange], None]) -> Exchange:
    """An open exchange, its answer's head read. `watch` is told of it before anything is waited for.

    Raises SvcError when no instance answers, ClientGone when there is nobody to
    answer; nothing is left to close then.
    """
    exchange = Exchange(state, request)
    watch(exchange)
    try:
        exchange.open(client_address)
    except BaseException:
        exchange.close()
        raise
    return exchange


def request_id(request: Request) -> bytes:
    """The id that came with the request, if any."""
    told = request.special.get(b"x-request-id", b"")
    if not told:
        for name, value in request.headers:
            if name.lower() in REQUEST_IDS:
                told = value
    return told[:128]
