"""One client's connection: requests in, answers out, one after the other, until either side ends it."""

import math
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from svc.base.errors import Overloaded, RequestTimeout, SvcError, TooLarge
from svc.perimeter.connections import ConnectionStage
from svc.router.balance.request_queue import Waiter
from svc.router.http.cors import answer_headers
from svc.router.http.request import Request
from svc.router.http.request_parser import CONTINUE, RequestParser
from svc.router.http.sockets import RECV, farewell, receiver, sender, shut, unread_bytes
from svc.router.proxy.authorization import authorize
from svc.router.proxy.body_buffers import DISCARD_LIMIT_BODIES, PROGRESS_BYTES, SMALL_BYTES, STALLED_SECONDS
from svc.router.proxy.exchange import ClientGone, Exchange, TruncatedResponse
from svc.router.proxy.forward import close_unanswered, forward
from svc.router.proxy.own_responses import answer_head, error_answer, whole_answer
from svc.router.proxy.response_writer import write_response
from svc.router.proxy.trusted_proxies import client_of
from svc.router.state import RouterState
from svc.router.wsgi import WsgiAnswer, call

IDLE_TIMEOUT_SECONDS = 75.0  # without a request, before a kept connection is closed
READ_TIMEOUT_SECONDS = 60.0  # that a request may take to arrive
SILENT_TIMEOUT_SECONDS = 25.0  # that the client of an event stream of ours may read nothing
LARGE_BYTES = 1 << 20
MAX_UNREAD_BYTES = 32 << 10  # behind a request in progress; more may fill the window, and hide the client's end
MAX_UNREAD_SECONDS = 5.0
LINGER_TIMEOUT_SECONDS = 10.0  # for which what a client still sends is read after an error, so that the error arrives


class ClientConnection:
    """`serve` runs in the connection's greenlet; the rest is for the sweeper, which runs in another."""

    __slots__ = (
        "_address",
        "_app",
        "_arriving",
        "_blocked",
        "_waited_seconds",
        "_expired",
        "_left",
        "_progress_at",
        "_progress_bytes",
        "_stalled",
        "_unread_since",
        "_opened",
        "_place",
        "_reader",
        "_state",
        "_recv",
        "_send",
        "address",
        "closing",
        "deadline",
        "exchange",
        "idle",
        "idle_since",
        "sock",
        "watched",
    )

    def __init__(self, state: RouterState, app: Callable[..., Any], sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.exchange: Exchange | None = None
        self.idle = True  # between two requests
        self.watched = False  # once a stream of ours is read
        self.closing = False
        self.address = address
        self.idle_since = self._opened = state.now
        self.deadline = state.now + IDLE_TIMEOUT_SECONDS
        self._state = state
        self._app = app
        self._address = address.encode()
        self._blocked = 0.0  # since when the client has taken nothing of what is being sent
        self._recv = receiver(sock)
        self._send = sender(sock, self._note_blocked)
        self._reader = RequestParser(state.max_body, state.head_cache)
        self._arriving: Exchange | None = None  # of the request whose head is there, and whose body is not
        self._place: Waiter | None = None  # in the queue for memory
        self._expired = self._left = False
        self._stalled = False  # whether it was ended because its body made no progress
        self._progress_at = 0.0  # when the body that is arriving last made progress
        self._progress_bytes = 0  # how much of it had come then
        self._unread_since = 0.0  # since when over MAX_UNREAD_BYTES wait behind the request in progress
        self._waited_seconds = 0.0  # for memory, by the request whose body is arriving

    def serve(self) -> None:
        """Answers requests until the connection ends; raises OSError when the client breaks it off."""
        keep = True
        while keep:
            try:
                request = self._next()
            except SvcError as error:
                self._refuse(error)
                break
            if request is None:
                return
            keep = self._own(request) if request.head.own else self._relay(request)
            if len(request.body) > LARGE_BYTES:
                del request  # the next one may be far
            self.idle_since = self._state.now
            self.deadline = self.idle_since + IDLE_TIMEOUT_SECONDS
            self.idle = not self._reader.begun and not self._reader.ready
            if self._reader.ready:
                time.sleep(0)  # pipelined requests take turns with other connections and with the sweeper
        if self._reader.error or self._reader.begun or self._reader.ready or self._reader.upgrading:
            self._linger()

    def _next(self) -> Request | None:
        """Return the next request, None when the client has no more."""
        reader = self._reader
        while not reader.ready:
            if reader.error is not None:
                raise reader.error
            if reader.arriving:
                self._admit_body()
            data = self._recv()
            if not data:
                if self._stalled:
                    raise Overloaded(
                        f"the request made no progress for {STALLED_SECONDS:g} s while others waited for memory; "
                        "send it again, or raise max_buffered under [router] in config/svc.toml"
                    )
                if self._expired and reader.begun:
                    raise RequestTimeout(f"the request did not arrive within {READ_TIMEOUT_SECONDS:g} s")
                return None
            if self.idle:
                self.idle = False
                self.deadline = self._state.now + READ_TIMEOUT_SECONDS
            reader.feed(data)
        return reader.ready.popleft()

    def _admit_body(self) -> None:
        """Authorize a request before its body is read, and allocate memory for what is read next; raises SvcError."""
        reader = self._reader
        size = reader.body_size + RECV
        if declared := reader.declared_size():
            size = min(size, declared)
        if reader.head().own:
            if max(reader.body_size, declared) > SMALL_BYTES:
                raise TooLarge(f"the router's own endpoints take no body over {SMALL_BYTES} bytes")
        else:
            if self._arriving is None:
                self._waited_seconds, self._progress_bytes, self._progress_at = 0.0, 0, self._state.now
                self._arriving = self._begin(Request(reader.head(), b""))
                if reader.head().needs_authorization or self._state.keys is not None:
                    authorize(self._arriving, self._address)
            started = self._state.now
            self._arriving.allocate(size, started + READ_TIMEOUT_SECONDS - self._waited_seconds, self._stay)
            self._place = None
            waited = self._state.now - started
            self._waited_seconds += waited
            self.deadline += waited  # the body cannot arrive while it is not read
            if waited or reader.body_size >= self._progress_bytes + PROGRESS_BYTES:
                self._progress_bytes, self._progress_at = reader.body_size, self._state.now
        if reader.wants_continue:
            reader.wants_continue = False
            self._send(CONTINUE)

    def _stay(self, place: Waiter) -> None:
        """Note the place in the queue for memory; what ends the connection wakes it."""
        self._place = place
        if self._left:
            raise ConnectionResetError

    def _refuse(self, error: SvcError) -> None:
        """Send the error for a request that was malformed or refused before its body."""
        exchange, self._arriving, self._place = self._arriving, None, None
        self._reader.discard_body()
        if exchange is None:
            self._send_error(error)
        else:
            close_unanswered(exchange, error)
            self._send_error(error, exchange.request_id, exchange.request)

    # Relaying.

    def _begin(self, request: Request) -> Exchange:
        state, client = self._state, self.address
        if state.trusted:
            client = client_of(client, request.head.special.get(b"x-forwarded-for", b""), state.trusted)
        return Exchange(state, request, client)

    def _relay(self, request: Request) -> bool:
        exchange = self._arriving
        if exchange is None:
            exchange = self._begin(request)
        else:
            self._arriving = None
            exchange.body_arrived(request)
        self.exchange = exchange
        try:
            forward(exchange, self._address)
            exchange.drop_body()
            keep = self._keeps(request)
            return write_response(exchange, request.head, keep, self.sock, self._send, self._reader)
        except SvcError as error:
            keep = self._keeps(request)
            self._send_error(error, exchange.request_id, request, keep)
            return keep
        except (TruncatedResponse, ClientGone):
            return False
        except OSError:  # the client broke it off
            raise
        except Exception:  # noqa: BLE001 - it is answered with 500, or the client sees that the answer is not whole
            failure = exchange.log_unexpected_error()
            if not exchange.answered:
                self._send_error(failure, exchange.request_id, request)
            return False
        finally:
            self.exchange = None
            exchange.close()

    def _keeps(self, request: Request) -> bool:
        return request.head.keep_alive and not self._state.draining

    # Our own endpoints, and errors.

    def _own(self, request: Request) -> bool:
        keep = self._keeps(request)
        answer = call(self._app, request, self._address.decode())
        if answer.parts is not None:
            return self._stream(answer, request)
        self._send(whole_answer(answer, request.head, keep))
        return keep

    def _stream(self, answer: WsgiAnswer, request: Request) -> bool:
        """Parts as they come; the end of the connection is their end."""
        with closing(answer.parts):
            self.watched = True
            self._send(answer_head(answer, [("Connection", "close")]))
            if request.head.method != b"HEAD":
                for part in answer.parts:
                    self.deadline = self._state.now + SILENT_TIMEOUT_SECONDS
                    self._send(part)
                farewell(self.sock)
        return False

    def _send_error(
        self, error: SvcError, request_id: bytes = b"", request: Request | None = None, keep: bool = False
    ) -> None:
        head = request.head if request is not None else None
        origin = head.header(b"origin") if head is not None else self._reader.origin
        target = head.target if head is not None else self._reader.target
        answer = error_answer(error, target, request_id, answer_headers(self._state.browsers, origin.decode("latin-1")))
        with suppress(OSError):
            self._send(whole_answer(answer, head, keep))

    def _linger(self) -> None:
        """Reads on for a moment: closing with bytes unread would reset the connection, and the error with it.

        What comes is thrown away, a bounded amount of it.
        """
        self.deadline = self._state.now + LINGER_TIMEOUT_SECONDS
        self._expired = False
        left = DISCARD_LIMIT_BODIES * self._state.max_body
        with suppress(OSError):
            shut(self.sock, socket.SHUT_WR)
            while left > 0 and not self._expired and (data := self._recv()):
                left -= len(data)

    def _note_blocked(self, blocked: bool) -> None:
        self._blocked = self._state.now if blocked else 0.0

    # For the sweeper.

    @property
    def stage(self) -> ConnectionStage:
        """What it waits for."""
        if self.closing:
            return ConnectionStage.BUSY
        if self._blocked:
            return ConnectionStage.SENDING
        if self.exchange is not None or self.watched:
            return ConnectionStage.BUSY
        if not self.idle:
            return ConnectionStage.REQUEST
        return ConnectionStage.SILENT if self.idle_since == self._opened else ConnectionStage.IDLE

    @property
    def since(self) -> float:
        """When the stage began."""
        if self._blocked:
            return self._blocked
        return self.idle_since if self.idle else self.deadline - READ_TIMEOUT_SECONDS

    @property
    def buffered_bytes(self) -> int:
        """The memory that the body of an arriving request takes."""
        allocation = self._arriving.allocation if self._arriving is not None else None
        return allocation.size if allocation is not None else 0

    @property
    def stalled_since(self) -> float:
        """When the body last made progress; inf while it waits for memory itself."""
        return math.inf if self._place is not None or not self.buffered_bytes else self._progress_at

    def end_stalled(self) -> None:
        """End a request whose body does not arrive, because others wait for its memory."""
        self._stalled = self._expired = True
        with suppress(OSError):
            shut(self.sock, socket.SHUT_RD)

    def limit_unread(self, now: float) -> None:
        """End a connection whose client keeps sending behind its request: unread bytes hide that it has left."""
        if self.exchange is None or self.exchange.is_tunnel or unread_bytes(self.sock) <= MAX_UNREAD_BYTES:
            self._unread_since = 0.0
            return
        self._unread_since = self._unread_since or now
        if now - self._unread_since >= MAX_UNREAD_SECONDS:
            self.shed()

    def shed(self) -> None:
        """Close it to make room: it asks for nothing, or takes nothing of its answer."""
        self.closing = True
        if self.exchange is not None:
            self.exchange.interrupt("client")
        self.shut()

    def late(self, now: float) -> bool:
        """Whether its deadline, or that of the request being served, has passed."""
        return (self.exchange.deadline if self.exchange is not None else self.deadline) < now

    def gone(self) -> None:
        """The client has left; a half-closed connection counts, as in nginx."""
        if self.exchange is not None and self.exchange.is_tunnel:
            return  # the tunnel reads the end itself, after the client's last bytes
        if self.exchange is not None:
            self.exchange.interrupt("client")
        if self.exchange is not None or self.watched or self._place is not None:
            self.shut()

    def expire(self, now: float) -> None:
        """A deadline has passed: of an idle connection, of a request that arrives, or of one that is served."""
        if self.exchange is not None and not self.exchange.cut:
            self.exchange.interrupt("timeout")
            self.exchange.deadline = now + 1
        elif self._place is not None:
            return  # it waits for memory: the queue ends that
        elif self.exchange is None and not self._expired:
            self._expired = True
            with suppress(OSError):
                shut(self.sock, socket.SHUT_RD)
        else:  # woken before, and still here: it hangs in sending
            self.shut()
        self.deadline = now + 1

    def close(self) -> None:
        """Close it, and undo the cycles: a large body would wait in one for the garbage collection."""
        if self._arriving is not None:
            self._arriving.close()
        self.sock.close()
        self._reader.close()
        del self._send  # it refers to us

    def shut(self) -> None:
        if self._place is not None:
            self._left = True
            self._place.wake()
        with suppress(OSError):
            shut(self.sock)
