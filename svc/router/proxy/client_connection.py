"""One client's connection: it reads requests and sends responses, one after the other, until either side closes it."""

import socket
import time
from contextlib import closing, suppress
from functools import partial

from svc.base.errors import Overloaded, RequestTimeout, SvcError, TooLarge
from svc.router.http.cors import cors_headers
from svc.router.http.request import Request
from svc.router.http.request_parser import CONTINUE, RequestParser
from svc.router.http.sockets import receiver, send_close_notify, sender, shut, takes_bytes
from svc.router.proxy.arriving_body import READ_TIMEOUT_SECONDS, ArrivingBody
from svc.router.proxy.authorization import authorize
from svc.router.proxy.body_buffers import DISCARD_LIMIT_BODIES, LARGE_BYTES, SMALL_BYTES, STALLED_SECONDS
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.exchange_report import log_unexpected_error
from svc.router.proxy.forward import close_unanswered, forward
from svc.router.proxy.own_responses import error_response, json_response, response_head, whole_response
from svc.router.proxy.response_breaks import ClientGone, TruncatedResponse
from svc.router.proxy.response_writer import write_response
from svc.router.proxy.route_query import answer_route_query
from svc.router.proxy.swept_connection import IDLE_TIMEOUT_SECONDS, SweptConnection
from svc.router.proxy.trusted_proxies import client_of
from svc.router.proxy.waiting_stream import WaitingStream, may_wait_long
from svc.router.state import RouterState
from svc.router.wsgi import Answer, WsgiResponse

STREAM_SEND_TIMEOUT_SECONDS = 25.0  # limit for the client to read a part of the router's own event stream
MAX_REQUEST_PIECE_BYTES = 128 << 10  # the most that is received at once, because most requests arrive in one piece
LARGE_PIECE_BYTES = 32 << 10  # after a piece of this size, the next one has probably arrived too
MAX_PIECES_AT_ONCE = 16  # large pieces of a body that are received before other connections have their turn
LINGER_TIMEOUT_SECONDS = 10.0  # the router reads on for this time after an error, so that the client receives the error


class ClientConnection(SweptConnection):
    """The connection of one client; `serve` answers its requests one after the other, in a greenlet of its own."""

    __slots__ = ("_address", "_answer_own", "_reader", "_recv", "_send")

    def __init__(self, state: RouterState, answer: Answer, sock: socket.socket, address: str) -> None:
        super().__init__(state, sock, address)
        self._answer_own = answer
        self._address = address.encode()
        self._recv = receiver(sock, MAX_REQUEST_PIECE_BYTES)
        self._send = sender(sock, self._note_blocked)
        self._reader = RequestParser(state.max_body, state.head_cache)

    def serve(self) -> None:
        """Answer requests until the connection ends; raise OSError if the client breaks off the connection."""
        keep = True
        while keep:
            try:
                request = self._next_request()
            except SvcError as error:
                self._refuse(error)
                break
            if request is None:
                return
            keep = self._answer(request) if request.head.own else self._relay(request)
            if len(request.body) > LARGE_BYTES:
                del request  # frees the body: it may take long until the next request arrives
            self.idle_since = self._state.now
            self.deadline = self.idle_since + IDLE_TIMEOUT_SECONDS
            self.idle = not self._reader.begun and not self._reader.ready
            if self._reader.ready:
                time.sleep(0)  # pipelined requests take turns with other connections and with the sweep
        if self._reader.error or self._reader.begun or self._reader.ready or self._reader.upgrading:
            self._linger()

    def _next_request(self) -> Request | None:
        """Return the next request, None at the end of the connection; raise SvcError for a request that is refused."""
        reader = self._reader
        large_pieces = 0  # number of large pieces in a row
        while not reader.ready:
            if reader.error is not None:
                raise reader.error
            if reader.arriving:
                self._admit_body()
            data = self._recv(large_pieces % MAX_PIECES_AT_ONCE > 0)
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
            large_pieces = large_pieces + 1 if len(data) >= LARGE_PIECE_BYTES else 0
        return reader.ready.popleft()

    def _admit_body(self) -> None:
        """Authorize the request before its body is read, and allocate memory for the next part of the body.

        Raise SvcError if the request is refused, or if no memory becomes free in time.
        """
        reader = self._reader
        size = reader.body_size + MAX_REQUEST_PIECE_BYTES
        if declared := reader.declared_size():
            size = min(size, declared)
        if reader.head().own:
            if max(reader.body_size, declared) > SMALL_BYTES:
                raise _own_body_too_large()
        else:
            body = self._arriving
            if body is None:
                exchange = self._begin_exchange(Request(reader.head(), b""))
                body = self._arriving = ArrivingBody(exchange, self._state.now)
                if self._state.authorizes_all or reader.head().needs_authorization:
                    authorize(exchange, self._address)
            self.deadline += body.allocate(size, reader.body_size)  # during the wait no part of the body is read
        if reader.wants_continue:
            reader.wants_continue = False
            self._send(CONTINUE)

    def _refuse(self, error: SvcError) -> None:
        """Send the error for a request that was malformed, or refused before its whole body was read."""
        body, self._arriving = self._arriving, None
        self._reader.discard_body()
        if body is None:
            self._send_error(error)
        else:
            close_unanswered(body.exchange, error)
            self._send_error(error, body.exchange.request_id, body.exchange.request)

    # Relaying.

    def _begin_exchange(self, request: Request) -> Exchange:
        state, client = self._state, self.address
        if state.trusted:
            client = client_of(client, request.head.special.get(b"x-forwarded-for", b""), state.trusted)
        return Exchange(state, request, client)

    def _relay(self, request: Request) -> bool:
        body = self._arriving
        if body is None:
            exchange = self._begin_exchange(request)
        else:
            exchange, self._arriving = body.exchange, None
            exchange.body_arrived(request)
        self.exchange = exchange
        try:
            if request.head.asks_route:
                return self._answer_route_query(exchange, request)
            forward(exchange, self._address)
            exchange.drop_body()
            keep = self._keeps(request)
            if (waiting := exchange.waiting_stream) is not None and waiting.begun:
                return waiting.join(exchange, keep, self.sock)
            return write_response(exchange, request.head, keep, self.sock, self._send, self._reader)
        except SvcError as error:
            keep = self._keeps(request)
            if (waiting := exchange.waiting_stream) is not None and waiting.begun:
                return waiting.end(error, request.head.uri, keep)
            self._send_error(error, exchange.request_id, request, keep)
            return keep
        except (TruncatedResponse, ClientGone):
            return False
        except OSError:  # the client broke off the connection
            raise
        except Exception:  # noqa: BLE001 - the client gets 500, or sees that the response is not whole
            failure = log_unexpected_error(exchange)
            if not exchange.answered:
                self._send_error(failure, exchange.request_id, request)
            return False
        finally:
            self.exchange = None
            exchange.close()

    def keep_waiting(self) -> None:
        """If the next comment of a waiting stream is due, wake the greenlet of its request, which sends the comment."""
        exchange = self.exchange
        if exchange is None or exchange.waiter is None:
            return
        if exchange.waiting_stream is None and may_wait_long(exchange):
            takes, keep = partial(takes_bytes, self.sock), self._keeps(exchange.request)
            exchange.waiting_stream = WaitingStream(exchange, self._send, takes, keep)
        if exchange.waiting_stream is not None and exchange.waiting_stream.due <= self._state.now:
            exchange.waiter.wake()

    def _answer_route_query(self, exchange: Exchange, request: Request) -> bool:
        keep = self._keeps(request)
        body = answer_route_query(exchange, self._address)
        self._send(whole_response(json_response(body), request.head, keep))
        return keep

    def _keeps(self, request: Request) -> bool:
        return request.head.keep_alive and not self._state.draining

    # The router's own endpoints, and errors.

    def _answer(self, request: Request) -> bool:
        keep = self._keeps(request)
        if len(request.body) > SMALL_BYTES:
            self._send_error(_own_body_too_large(), request=request, keep=keep)
            return keep
        try:
            response = self._answer_own(request, self._address.decode())
        except SvcError as error:  # the control process does not answer
            self._send_error(error, b"", request, keep)
            return keep
        if response.parts is not None:
            return self._stream(response, request)
        self._send(whole_response(response, request.head, keep))
        return keep

    def _stream(self, response: WsgiResponse, request: Request) -> bool:
        """Send one of the router's own event streams, part by part. Return False: the connection ends with it."""
        with closing(response.parts):
            self.streaming = True
            self._send(response_head(response, [("Connection", "close")]))
            if request.head.method != b"HEAD":
                for part in response.parts:
                    self.deadline = self._state.now + STREAM_SEND_TIMEOUT_SECONDS
                    self._send(part)
                send_close_notify(self.sock)
        return False

    def _send_error(
        self, error: SvcError, request_id: bytes = b"", request: Request | None = None, keep: bool = False
    ) -> None:
        head = request.head if request is not None else None
        origin = head.header(b"origin") if head is not None else self._reader.origin
        uri = head.uri if head is not None else self._reader.uri
        response = error_response(error, uri, request_id, cors_headers(self._state.browsers, origin.decode("latin-1")))
        with suppress(OSError):
            self._send(whole_response(response, head, keep))

    def _linger(self) -> None:
        """Read and discard what the client still sends, for a limited time and up to a limited size.

        Closing the socket with unread bytes would reset the connection, and the client would not receive the error.
        """
        self.deadline = self._state.now + LINGER_TIMEOUT_SECONDS
        self._expired = False
        remaining = DISCARD_LIMIT_BODIES * self._state.max_body
        with suppress(OSError):
            shut(self.sock, socket.SHUT_WR)
            while remaining > 0 and not self._expired and (data := self._recv()):
                remaining -= len(data)

    def close(self) -> None:
        """Close the connection and break its reference cycles: only a garbage collection would free a large body."""
        if self._arriving is not None:
            self._arriving.exchange.close()
        self.sock.close()
        self._reader.close()
        self._send = _discard  # the sender refers to this object


def _discard(data: bytes | memoryview) -> None:
    """The sender of a closed connection."""


def _own_body_too_large() -> TooLarge:
    return TooLarge(f"the router's own endpoints take no body over {SMALL_BYTES} bytes")
