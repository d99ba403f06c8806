"""Traffic between clients and scripted instances, one step at a time, and what must hold after each step.

Every request carries a nonce, every correct answer holds exactly that nonce.
What no proxy can know limits the steps: bytes that an instance sends unasked
after the router has put the next request on the connection are, to the router,
the answer to that request. So such bytes are sent only on connections without
an outstanding request, and a step ends only when the router has reacted to it.
"""

from typing import Any

from tests.integration.router.framing import Answer, read_answer
from tests.integration.router.nonces import Request, Sending, check_part, check_whole, is_router_error, new_nonce
from tests.integration.router.recorded import KINDS, NONCE, SOUND, Case
from tests.integration.router.routers import Router
from tests.integration.router.scripted import WAIT_SECONDS, Attempt, Caller, Instance, InstanceConnection, Network
from tests.waiting import wait_until

NOTE_CHARACTERS = 400


class Client:
    """A client with a connection of its own, which is kept as long as both sides keep it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.request: Request | None = None
        self.unsent = b""  # of its request

    def answer(self) -> Answer | None:
        assert self.request is not None
        return read_answer(self.caller.received, self.request.head_only, self.caller.ended)

    @property
    def done(self) -> bool:
        """Whether nothing more comes for its request."""
        if self.request is None or self.caller.ended or self.caller.closed:
            return True
        try:
            answer = self.answer()
        except AssertionError:  # it is malformed: the check reports it
            return True
        return answer is not None and answer.whole

    @property
    def waiting(self) -> bool:
        """Whether the router has its whole request, and owes an answer."""
        return self.request is not None and not self.unsent and not self.done


class Traffic:
    """Clients, instances, and the steps; `history` explains a failure."""

    def __init__(self, network: Network, router: Router, instances: list[Instance]) -> None:
        self.router = router
        self.instances = instances
        self.clients: list[Client] = []
        self.history: list[str] = []
        self.checked = 0  # whole answers of instances that clients have read
        self.sound = 0  # sound answers that instances have sent
        self._network = network
        self._sending: dict[Attempt, Sending] = {}

    # What steps can choose from.

    def idle_clients(self) -> list[Client]:
        return [c for c in self.clients if c.request is None and not c.caller.ended]

    def slow_clients(self) -> list[Client]:
        return [c for c in self.clients if c.unsent]

    def waiting_clients(self) -> list[Client]:
        return [c for c in self.clients if c.waiting]

    def unanswered(self) -> list[tuple[Client, Attempt]]:
        """Attempts at which no byte of an answer has been sent."""
        pairs = [(client, self._live_attempt(client.request)) for client in self.waiting_clients()]
        return [(client, attempt) for client, attempt in pairs if attempt and attempt not in self._sending]

    def unfinished(self) -> list[Sending]:
        """Answers with bytes left, none of which would meet a later request."""
        awaited = [client.request for client in self.waiting_clients()]
        return [
            s
            for s in self._sending.values()
            if s.unsent
            and s.attempt.connection.live
            and s.attempt is s.attempt.connection.attempts[-1]
            and (not self._retry_due() if s.complete else s.request in awaited)
        ]

    def connections(self) -> list[InstanceConnection]:
        """Connections whose end the router would notice in a known order."""
        live = [c for instance in self.instances for c in instance.connections if c.live and c.attempts]
        return [c for c in live if not (self._is_idle(c) and self._retry_due())]

    def idle_connections(self) -> list[InstanceConnection]:
        """Connections on which the router waits for nothing."""
        return [c for c in self.connections() if self._is_idle(c)]

    def _retry_due(self) -> bool:
        """Whether the router may just now put a request on an idle connection, unasked by any step."""
        waiting = [c.request for c in self.waiting_clients()]
        return any(
            s.refused and s.request in waiting and self._live_attempt(s.request) in (None, s.attempt)
            for s in self._sending.values()
        )

    def _is_idle(self, connection: InstanceConnection) -> bool:
        attempt = connection.attempts[-1]
        sending = self._sending.get(attempt)
        return attempt.whole and sending is not None and sending.complete

    def _live_attempt(self, request: Request | None) -> Attempt | None:
        attempts = self.instances[0].attempts.get(request.nonce, []) if request else []
        live = [a for a in attempts if a.connection.live]
        return live[-1] if live else None

    # Steps of clients.

    def connect(self) -> Client:
        client = Client(Caller(self._network, self.router.port))
        self.clients.append(client)
        return client

    def send(self, client: Client, request: Request, size: int | None = None) -> None:
        """Send a request, or the first bytes of it."""
        self._note(f"client {self._number(client)} sends {request.data[:60]!r}, {size or 'all'} bytes of it")
        client.request = request
        client.unsent = request.data[size:] if size else b""
        client.caller.send(request.data[:size] if size else request.data)
        self._delivered(client)

    def send_rest(self, client: Client) -> None:
        self._note(f"client {self._number(client)} sends the rest of {_nonce(client)}")
        data, client.unsent = client.unsent, b""
        client.caller.send(data)
        self._delivered(client)

    def leave(self, client: Client, how: str) -> None:
        """End a client's connection; the router ends what it did for that client."""
        self._note(f"client {self._number(client)} ends by {how}, with {_nonce(client)}")
        self.check()
        if client in self.clients:
            self._leave(client, how)

    def _leave(self, client: Client, how: str) -> None:
        if how == "half-close":
            client.caller.half_close()
            self._network.wait(lambda: client.caller.ended, "the end of a half-closed connection")
            self.check()
        elif how == "reset":
            client.caller.reset()
        owed = client.request is not None
        self._forget(client)
        if owed:
            self.await_counts()

    def _forget(self, client: Client) -> None:
        client.caller.close()
        if client in self.clients:
            self.clients.remove(client)

    def await_timeout(self, client: Client) -> None:
        """Let an answer fail to come in time."""
        self._note(f"client {self._number(client)} waits for a timeout of {_nonce(client)}")
        self._await(client, lambda: client.done, "the end of a request that is not answered")
        self.check()

    # Steps of instances.

    def answer(self, client: Client, attempt: Attempt, kind: str, size: int | str = "all", **options: Any) -> Sending:
        """Send the first bytes of an answer of this kind; `size` is a number of them, "head", "end" or "all"."""
        request = client.request
        assert request is not None
        recorded = KINDS[kind](Case(request.nonce, new_nonce(), request.head_only, **options))
        sending = self._sending[attempt] = Sending(attempt, request, recorded)
        request.sendings.append(sending)
        request.harmed |= not recorded.sound
        self._note(f"instance {self._port(attempt)} answers {request.nonce!r} with {kind} {options}: {recorded}")
        self.send_more(sending, size)
        return sending

    def answer_all(self, named: bool) -> None:
        """Answer correctly whatever is not answered yet."""
        while pairs := self.unanswered():
            self.answer(*pairs[0], "length", named=named)

    def send_more(self, sending: Sending, size: int | str = "all") -> None:
        recorded, before = sending.recorded, sending.complete
        position = {"head": recorded.head_end, "end": recorded.end, "all": None}.get(size, size)
        position = len(recorded.data) if position is None else max(int(position), sending.sent + 1)
        data = recorded.data[sending.sent : position]
        self._note(f"instance {self._port(sending.attempt)} sends {data!r}")
        connection = sending.attempt.connection
        connection.send(data)
        sending.sent += len(data)
        if sending.sent > (recorded.end or len(recorded.data)):
            connection.settle()
        if sending.complete and not before:
            self._completed(sending)
        self.check()

    def _completed(self, sending: Sending) -> None:
        self.sound += sending.recorded.sound
        if not sending.attempt.whole:
            sending.attempt.connection.resume()
        for client in [c for c in self.clients if c.request is sending.request]:
            self._reacted(client, sending.attempt, "an answer, or another attempt")

    def send_late(self, connection: InstanceConnection, data: bytes) -> None:
        """Send bytes that no request of the router waits for."""
        self._note(f"instance {connection.instance.port} sends late: {data!r}")
        connection.send(data)
        connection.settle()
        self.check()

    def resume(self, connection: InstanceConnection) -> None:
        self._note(f"instance {connection.instance.port} reads on")
        connection.resume()

    def end(self, connection: InstanceConnection, how: str) -> None:
        """Close, reset or half-close a connection."""
        attempt, idle = connection.attempts[-1], self._is_idle(connection)
        self._note(f"instance {connection.instance.port} ends a connection by {how}, idle: {idle}")
        {"close": connection.close, "reset": connection.reset, "half-close": connection.half_close}[how]()
        sending = self._sending.get(attempt)
        if not idle:
            for client in [c for c in self.clients if c.request and self._is_for(attempt, c.request)]:
                client.request.harmed |= not self._completes(sending, how)
                self._reacted(client, attempt, "an end, or another attempt")
        self.check()

    def _completes(self, sending: Sending | None, how: str) -> bool:
        """Whether the end of the connection completes an answer without length, wherever it stands."""
        if sending is None or how == "reset" or sending.recorded.end is not None:
            return False
        sending.ended_in_order = sending.recorded.sound and sending.sent >= sending.recorded.head_end
        return sending.ended_in_order

    def _is_for(self, attempt: Attempt, request: Request) -> bool:
        return attempt in self.instances[0].attempts.get(request.nonce, [])

    # Waiting for the router.

    def _delivered(self, client: Client) -> None:
        if not client.unsent:
            self._await(client, lambda: self._live_attempt(client.request), "an instance to receive a request")
        self.check()

    def _reacted(self, client: Client, attempt: Attempt, description: str) -> None:
        """Wait until the client has its answer, or another instance has its request."""
        self._await(client, lambda: self._live_attempt(client.request) not in (None, attempt), description)

    def _await(self, client: Client, condition: Any, description: str) -> None:
        if client in self.clients:
            description = f"{description}: {_nonce(client)}\n{self.story()}"
            self._network.wait(lambda: client.done or condition(), description)

    def await_counts(self) -> None:
        """Wait until the router counts just those requests that are open."""
        wait_until(
            lambda: self.router.in_flight() == len(self.waiting_clients()),
            WAIT_SECONDS,
            f"the counts to be released\n{self.story()}",
            0.01,
        )

    # What must hold.

    def check(self) -> None:
        """Hold all that clients have received against what was recorded for them."""
        with self._network.changed:
            for client in list(self.clients):
                try:
                    self._check(client)
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{self.story()}") from None

    def _check(self, client: Client) -> None:
        caller, request = client.caller, client.request
        if request is None or client.unsent:
            assert not caller.received, f"bytes that answer no request: {caller.received!r}"
            if caller.ended:
                self._forget(client)
            return
        foreign = set(NONCE.findall(caller.received)) - {request.nonce}
        assert not foreign, f"the answer to {request.nonce!r} holds {foreign}: {caller.received!r}"
        answer = client.answer()
        if answer is None:
            assert not caller.ended or not caller.received, f"an answer was cut in its head: {caller.received!r}"
        elif answer.whole:
            check_whole(request, answer)
            self.checked += not is_router_error(answer)
            client.request = None
            caller.received = caller.received[answer.size :]
            assert not caller.received, f"bytes follow the answer to {request.nonce!r}: {caller.received!r}"
        else:
            check_part(request, answer)
        if caller.ended:
            self._forget(client)

    # The end.

    def finish(self) -> None:
        """Send requests over every connection that the router may have kept, and check their answers."""
        self._note("the end")
        self.answer_all(False)
        for client in [c for c in self.clients if c.request is not None]:
            self._forget(client)
        self.await_counts()
        count = max([len([c for c in i.connections if c.live]) for i in self.instances])
        for _ in range(min(max(count, 1), 8) * len(self.instances)):
            self.send(self.connect(), Request("chat", False, True, False))
        self.answer_all(False)

    def close(self) -> None:
        """Close everything, so that nothing of this traffic meets the next."""
        for client in self.clients:
            client.caller.close()
        self.clients = []
        for instance in self.instances:
            instance.hang_up()
        self.instances[0].attempts.clear()

    def story(self) -> str:
        return "\n".join(self.history[-60:])

    def _note(self, line: str) -> None:
        self.history.append(line[:NOTE_CHARACTERS])

    def _number(self, client: Client) -> int:
        return self.clients.index(client) if client in self.clients else -1

    def _port(self, attempt: Attempt) -> int:
        return attempt.connection.instance.port


def _nonce(client: Client) -> str:
    return client.request.nonce.decode() if client.request else "no request"


def late_bytes(kind: str) -> bytes:
    """Bytes that an instance may send unasked."""
    nonce = new_nonce()
    if kind in SOUND:
        return KINDS[kind](Case(nonce, nonce, False, True)).data
    return {
        "line": b"\r\n",
        "byte": b"x",
        "status line": b"HTTP/1.1 200 OK\r\n",
        "interim": b"HTTP/1.1 100 Continue\r\n\r\n",
        "last chunk": b"0\r\n\r\n",
        "body": b'{"answer": "%b"}' % nonce,
    }[kind]


LATE = ("length", "chunked", "events", "204", "503", "line", "byte", "status line", "interim", "last chunk", "body")
