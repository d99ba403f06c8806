"""A router between clients and instances that do what they like, many at once: it stays in step, quick and small."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.router import stalls
from tests.integration.router.client import get, post
from tests.integration.router.framing import Answer, read_answer
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.nonces import ROUTER_ERRORS, new_nonce
from tests.integration.router.recorded import INTERIM, KINDS, NONCE, SOUND, Case, Recorded
from tests.integration.router.routers import Router, running, service, static
from tests.integration.router.scripted import RESET
from tests.messages import broken, broken_answers
from tests.waiting import free_port, wait_until

CI_SECONDS = 8.0
LONG_SECONDS = 10 * 60.0
THREADS = 16
LATEST_REQUESTS = 2000
READ_SECONDS = 60  # until a test fails that waits for bytes
LATENCY_LIMIT_SECONDS = 1.0
STALL_LIMIT_SECONDS = 0.05
MEMORY_LIMIT_KILOBYTES = 60_000
DESCRIPTOR_LIMIT = 10  # more than before
FLAGS = (
    "--allow-paths",
    "/v1/things/*",
    "--policy",
    "round_robin",
    "--max-errors",
    1_000_000,
    "--first-byte-timeout",
    1,
    "--idle-timeout",
    1,
    "--max-body",
    4 << 20,
    "--queue-timeout",
    1,
)


def corpus(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Messages that Hypothesis draws."""
    messages: list[bytes] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(message: bytes) -> None:
        messages.append(message)

    collect()
    return messages


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Bytes changed, lost or added, but none in a nonce: what remains of one is not another."""
    result = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        position = draw.randrange(len(result) + 1)
        if any(match.start() < position + 2 and position - 2 < match.end() for match in NONCE.finditer(result)):
            continue
        piece = draw.choice((b"", b"\r", b"\n", b"\0", b" ", b":", b",", b"\r\n", b"0", b"9", b"\xff", b";"))
        result[position : position + draw.randint(0, 2)] = piece
    return bytes(result)


class Answers:
    """What instances send, at random, and which correct answers they have sent to each of the latest requests."""

    def __init__(self, messages: list[bytes]) -> None:
        self._sent: dict[bytes, list[Recorded | None]] = {}  # by nonce; None for a wrong answer
        self._lock = threading.Lock()
        self._messages = messages
        self._draw = random.Random()

    def script(self, peer: Peer, request: ReceivedRequest) -> bool:
        """Answer one request; False ends the connection."""
        nonce = NONCE.search(request.head) or NONCE.search(request.body)
        if nonce is None:
            peer.send(self._draw.choice((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", *self._messages)))
            return self._draw.random() < 0.5
        case = Case(
            nonce[0],
            new_nonce(),
            request.head.startswith(b"HEAD "),
            self._draw.random() < 0.5,
            self._draw.choice((b"", b"", *INTERIM)),
            self._draw.choice((0, 0, 200, 30_000)),
        )
        if self._draw.random() < 0.7:
            return self._answer_soundly(peer, case)
        return self._answer_unsoundly(peer, case)

    def sent(self, nonce: bytes) -> list[Recorded | None]:
        with self._lock:
            return self._sent.pop(nonce, [])

    def _record(self, nonce: bytes, recorded: Recorded | None) -> None:
        with self._lock:
            self._sent.setdefault(nonce, []).append(recorded)
            if len(self._sent) > LATEST_REQUESTS:  # the oldest are those of clients that have left
                self._sent.pop(next(iter(self._sent)))

    def _answer_soundly(self, peer: Peer, case: Case) -> bool:
        recorded = KINDS[self._draw.choice(tuple(SOUND))](case)
        self._record(case.nonce, recorded)
        cuts = sorted(self._draw.randrange(len(recorded.data)) for _ in range(self._draw.choice((0, 0, 1, 5))))
        for start, end in zip([0, *cuts], [*cuts, len(recorded.data)], strict=True):
            peer.send(recorded.data[start:end])
            if self._draw.random() < 0.3:
                time.sleep(self._draw.random() / 100)  # a pause, not a synchronization
        return recorded.end is not None

    def _answer_unsoundly(self, peer: Peer, case: Case) -> bool:
        """Send a wrong answer, or none; in one piece, since what came later could meet another request."""
        choice = self._draw.random()
        if choice < 0.15:
            if choice < 0.07:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        if choice < 0.17:
            peer.sock.recv(1)  # no answer, until the router gives up
            return False
        self._record(case.nonce, None)
        if choice < 0.6:  # what follows an answer may become part of it
            case = case._replace(other=case.nonce)
        recorded = KINDS[self._draw.choice(tuple(KINDS))](case)
        data = recorded.data
        if choice < 0.6:
            data = mutated(data, self._draw)
        if choice < 0.3:
            data = data[: self._draw.randrange(len(data) + 1)]
        peer.send(data)
        return recorded.end is not None and self._draw.random() < 0.7


class HostileInstance(Instance):
    """Answers at random, and keeps nothing of what is over."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self._answers = answers
        self.script = self._play

    def _play(self, peer: Peer, request: ReceivedRequest) -> bool:
        self.received.clear()
        if len(self.peers) > 500:
            self.peers = [peer for peer in self.peers if peer.sock.fileno() >= 0]
        return self._answers.script(peer, request)


class HostileClient(threading.Thread):
    """Sends requests of every kind until `ends`; `error` is what went wrong."""

    def __init__(self, port: int, answers: Answers, messages: list[bytes], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self.checked = 0  # whole answers of instances that were compared with what was sent
        self._port = port
        self._answers = answers
        self._messages = messages
        self._stop_event = stop
        self._draw = random.Random()
        self._acts = (
            self._converse,
            self._converse,
            self._converse,
            self._speak,
            self._speak,
            self._leave,
            self._burst,
        )

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self._draw.choice(self._acts)()
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error
            self._stop_event.set()

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), READ_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _request(self, nonce: bytes, padding: int = 0) -> tuple[bytes, bool]:
        """A correct request with this nonce, and whether it is a HEAD."""
        method = self._draw.choice(("POST", "POST", "GET", "HEAD"))
        if method == "POST":
            fields = {"model": "m", "nonce": nonce.decode(), "stream": self._draw.random() < 0.5, "x": "y" * padding}
            return post(fields, *([b"X-Nonce: " + nonce] if self._draw.random() < 0.5 else [])), False
        data = get(b"/v1/things/" + nonce)
        return (data.replace(b"GET", b"HEAD", 1), True) if method == "HEAD" else (data, False)

    def _pour(self, sock: socket.socket, data: bytes) -> None:
        """Send bytes whole, in pieces or in drops."""
        size = self._draw.choice((len(data), len(data), 1000, 7)) or 1
        size = max(size, len(data) // 200 + 1)
        with suppress(ConnectionError):
            for start in range(0, len(data), size):
                sock.sendall(data[start : start + size])

    def _converse(self) -> None:
        """Requests and their answers on one connection."""
        with self._connect() as sock:
            for _ in range(self._draw.randint(1, 12)):
                nonce = new_nonce()
                data, head_only = self._request(nonce, self._draw.choice((0, 0, 0, 0, 500, 2_000_000)))
                self._pour(sock, data)
                rest, ended = self._read(sock, nonce, head_only, b"")
                assert not rest, f"bytes follow the answer to {nonce!r}: {rest!r}"
                if ended:
                    return

    def _burst(self) -> None:
        """Several requests at once; the answers come in their order."""
        requests = [(nonce, *self._request(nonce)) for nonce in (new_nonce() for _ in range(self._draw.randint(2, 6)))]
        with self._connect() as sock:
            self._pour(sock, b"".join(data for _, data, _ in requests))
            rest = b""
            for nonce, _, head_only in requests:
                rest, ended = self._read(sock, nonce, head_only, rest)
                if ended:
                    break

    def _leave(self) -> None:
        """A request whose client is gone before the answer, or in the middle of it."""
        nonce = new_nonce()
        with self._connect() as sock:
            self._pour(sock, self._request(nonce)[0])
            if self._draw.random() < 0.5:
                sock.recv(self._draw.choice((1, 100, 5000)))
            if self._draw.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _speak(self) -> None:
        """Bytes that are nearly requests. None of them has a nonce, so that no answer may hold one."""
        data = self._draw.choice(self._messages)
        if self._draw.random() < 0.5:
            data = mutated(data, self._draw)
        with self._connect() as sock:
            self._pour(sock, data)
            if self._draw.random() < 0.3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            with suppress(OSError):
                sock.sendall(b"\r\n\r\n" + b"x" * 9000)  # ends whatever was begun
            received = b""
            with suppress(ConnectionError):
                while data := sock.recv(65536):
                    received += data
        assert not NONCE.search(received), f"an answer to {data!r} holds a nonce: {received!r}"
        assert not received or received.startswith(b"HTTP/1.1 "), received

    def _read(self, sock: socket.socket, nonce: bytes, head_only: bool, data: bytes) -> tuple[bytes, bool]:
        """Read one answer and check it; return what follows it, and whether the connection ends with it."""
        slow = self._draw.random() < 0.05
        ended = False
        while not (answer := read_answer(data, head_only, ended)) or not answer.whole:
            if ended:
                break
            try:
                received = sock.recv(500 if slow else 65536)
            except ConnectionError:
                received = b""
            data, ended = data + received, not received
        if answer is None:
            assert not data, f"an answer was cut in its head: {data!r}"
            return b"", True
        foreign = set(NONCE.findall(data[: answer.size])) - {nonce}
        assert not foreign, f"the answer to {nonce!r} holds {foreign}: {data!r}"
        if answer.whole:
            self._check(nonce, answer)
        return data[answer.size :], ended or answer.header(b"connection") == b"close"

    def _check(self, nonce: bytes, answer: Answer) -> None:
        """Where nothing but correct answers has been sent, one of them is what the client reads."""
        sent = self._answers.sent(nonce)
        if None in sent or answer.status in ROUTER_ERRORS:
            return
        assert any(r and (r.status, r.body) == (answer.status, answer.body) for r in sent), (
            f"not what instances sent to {nonce!r}: {answer}, {sent}"
        )
        self.checked += 1


class Site:
    """The router, and the files of those who measure it."""

    def __init__(self, router: Router, directory: Path, answers: Answers, messages: list[bytes]) -> None:
        self.router = router
        self.directory = directory
        self.answers = answers
        self.messages = messages

    def stalls(self, name: str, since: float) -> list[stalls.Stall]:
        return stalls.stalls(self.directory / name, since)

    def memory(self) -> int:
        """Kilobytes of the worker that are in memory."""
        status = Path(f"/proc/{self.router.worker()}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.router.worker()}/fd"))


ENVIRON = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])}


@contextmanager
def measuring(name: str, path: Path, *arguments: object) -> Iterator[None]:
    words = [sys.executable, "-m", stalls.__name__, name, str(path), *map(str, arguments)]
    with subprocess.Popen(words, env={**os.environ, **ENVIRON}) as process:
        yield
        assert process.poll() is None, f"{name} has ended"
        process.kill()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    answers = Answers(corpus(broken_answers(), 300))
    instances = [HostileInstance(answers) for _ in range(3)]
    services = [service(name, instance.port, "m") for name, instance in zip("abc", instances, strict=True)]
    path = static(tmp_path / "static.json", services)
    port = free_port()
    words = [sys.executable, "-m", stalls.__name__, "router", str(tmp_path / "router")]
    words += ["--port", str(port), "--static-services", str(path), *map(str, FLAGS)]
    with ExitStack() as stack:
        router = stack.enter_context(running(words, port, **ENVIRON))
        wait_until(router.ready, description="the router to be ready")
        stack.enter_context(measuring("idle", tmp_path / "idle"))
        stack.enter_context(measuring("probe", tmp_path / "probe", port))
        yield Site(router, tmp_path, answers, corpus(broken, 300))
    for instance in instances:
        instance.close()


def attack(site: Site, seconds: float) -> int:
    """Let all clients work for this long; return the number of answers that were compared with what was sent."""
    stop = threading.Event()
    clients = [HostileClient(site.router.port, site.answers, site.messages, stop) for _ in range(THREADS)]
    for client in clients:
        client.start()
    stop.wait(seconds)
    stop.set()
    for client in clients:
        client.join(READ_SECONDS + 10)
        assert not client.is_alive(), "a client waits for an answer that does not come"
    for client in clients:
        if client.error is not None:
            raise client.error
    return sum(client.checked for client in clients)


def withstand(site: Site, seconds: float) -> float:
    """Attack, and check what must hold afterwards; return when the attack began."""
    attack(site, 2)  # everything is loaded, and every pool as large as it gets
    worker, memory, descriptors = site.router.worker(), site.memory(), site.descriptors()
    start = time.monotonic()
    checked = attack(site, seconds)
    worst = {name: max(site.stalls(name, start), key=lambda s: s.delay) for name in ("router", "idle", "probe")}
    print(f"{checked} answers compared, {site.memory() - memory} kB more memory, worst stalls: {worst}")
    assert checked > 10 * seconds
    assert site.router.worker() == worker
    assert site.memory() - memory < MEMORY_LIMIT_KILOBYTES
    assert worst["probe"].delay < LATENCY_LIMIT_SECONDS
    wait_until(lambda: site.router.in_flight() == 0, description="the counts to be released")
    wait_until(lambda: site.descriptors() <= descriptors + DESCRIPTOR_LIMIT, 30, "connections to be closed")
    site.router.assert_no_exception()
    return start


@pytest.mark.timeout(150)
def test_a_site_withstands_hostile_clients_and_instances(site: Site):
    withstand(site, CI_SECONDS)


@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS + 300)
def test_a_site_withstands_them_for_long_and_never_stalls(site: Site):
    """A stall counts as far as it is longer than that of an idle process, which the machine delays as well."""
    start = withstand(site, LONG_SECONDS)
    noise = {int(stall.time): stall.delay for stall in site.stalls("idle", start)}
    for stall in site.stalls("router", start):
        second = int(stall.time)
        delayed = max(noise.get(other, 0) for other in (second - 1, second, second + 1))
        assert stall.own - delayed < STALL_LIMIT_SECONDS, f"{stall}, while the machine delayed {delayed:.3f} s"
