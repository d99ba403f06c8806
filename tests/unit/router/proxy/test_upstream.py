import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.http.response_parser import BODILESS_STATUSES
from svc.router.http.upstream_error import AttemptOutcome, UpstreamError
from svc.router.proxy.upstream import IDLE_TIMEOUT_SECONDS, UpstreamConnection, UpstreamPool, refuses_connections
from tests.unit.router.examples import target

Pair = tuple[UpstreamConnection, socket.socket]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def pair() -> Iterator[Pair]:
    connections = _pair()
    yield connections
    connections[0].close()
    connections[1].close()


def _pair() -> Pair:
    ours, theirs = socket.socketpair()
    return UpstreamConnection(target("a"), ours), theirs


def answer(pair: Pair, sent: bytes, head_only: bool = False, closes: bool = False) -> bytes:
    """The body of what the instance sent."""
    upstream, theirs = pair
    upstream.send_request(b"GET / HTTP/1.1\r\n\r\n", head_only)
    theirs.sendall(sent)
    if closes:
        theirs.shutdown(socket.SHUT_WR)
    upstream.read_head()
    return b"".join(iter(upstream.read, b""))


@pytest.mark.parametrize(
    ("sent", "keep"),
    [
        (OK, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX: 1\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", False),
        (OK + OK, False),
        (OK + b"garbage", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 7\r\n\r\n" + OK, True),
    ],
)
def test_whole_answers_and_whether_the_connection_can_be_used_again(pair: Pair, sent: bytes, keep: bool):
    upstream = pair[0]
    assert answer(pair, sent, closes=not keep) == b"ok"
    assert upstream.done
    assert (upstream.persistent and not upstream.poll_readable(0)) is keep
    if keep:
        assert answer(pair, sent) == b"ok"


NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n"
UNREADY = b"HTTP/1.1 503 Loading\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "taken", "later", "reusable"),
    [
        (OK, True, b"", True),
        (OK, False, b"", False),  # its body is still there, for the next one to read
        (UNREADY + b"no", True, b"", True),
        (UNREADY + b"no", False, b"", False),
        (UNREADY, False, b"no", False),
        (OK, True, b"x", False),  # bytes that came behind it
        (OK, True, OK, False),
        (OK + b"x", True, b"", False),
        (NOT_MODIFIED, True, b"", True),
        (NOT_MODIFIED + b"no", True, b"", False),
        (NOT_MODIFIED, True, b"no", False),
        (NO_CONTENT, True, b"", True),
        (NO_CONTENT + b"no", True, b"", False),
        (NO_CONTENT, True, b"no", False),
    ],
)
def test_a_connection_is_reused_only_when_nothing_of_its_answer_is_left(
    pair: Pair, sent: bytes, taken: bool, later: bytes, reusable: bool
):
    upstream, theirs = pair
    connections = UpstreamPool()
    for _ in range(2):  # read by the parser, then recognized
        upstream.send_request(b"GET / HTTP/1.1\r\n\r\n", head_only=False)
        theirs.sendall(sent)
        head = upstream.read_head()
        if taken and head.status not in BODILESS_STATUSES:
            upstream.read()
        theirs.sendall(later)
        connections.release(upstream, 1.0)
        assert (connections.take(target("a")) is upstream) is reusable
        if not reusable:
            break


@pytest.mark.parametrize("body", [b"", b"ok"])
def test_a_connection_is_never_reused_after_an_answer_to_head(pair: Pair, body: bytes):
    """With a body, or without: the parser cannot know that none follows."""
    answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body, head_only=True)
    assert not pair[0].body
    assert not pair[0].persistent


def test_a_connection_is_not_reused_before_the_whole_request_was_sent(pair: Pair):
    """The answer came early, and the instance may read the rest as another request."""

    def fails(message: bytes) -> None:
        raise OSError

    upstream, theirs = pair
    upstream._send = fails  # noqa: SLF001 - whatever the kernel does
    upstream.send_request(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", head_only=False)
    theirs.sendall(OK)
    upstream.read_head()
    assert upstream.read() == b"ok"
    connections = UpstreamPool()
    connections.release(upstream, 1.0)
    assert connections.take(target("a")) is None


def test_head_ends_with_its_head(pair: Pair):
    assert answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", head_only=True) == b""
    assert (pair[0].length, pair[0].done, pair[0].persistent) == (99, True, False)


@pytest.mark.parametrize("sent", [b"H", b"garbage\r\n", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"])
def test_what_is_no_answer_has_begun(pair: Pair, sent: bytes):
    with pytest.raises(UpstreamError) as caught:
        answer(pair, sent, closes=True)
    assert caught.value.outcome is AttemptOutcome.BEGUN


ASK = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"


def connected(requests: int) -> Pair:
    """A connection over TCP on which so many requests were answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    pair = UpstreamConnection(target("a"), ours), theirs
    for _ in range(requests):
        answer(pair, OK)
        assert theirs.recv(1000)
    return pair


def outcome(upstream: UpstreamConnection) -> AttemptOutcome:
    with pytest.raises(UpstreamError) as caught:
        upstream.read_head()
    upstream.close()
    return caught.value.outcome


@pytest.mark.parametrize("requests", [0, 1])
def test_a_request_read_before_the_close_may_have_been_processed(requests: int):
    upstream, theirs = connected(requests)
    upstream.send_request(ASK, head_only=False)
    theirs.recv(1000)
    theirs.close()
    assert outcome(upstream) is AttemptOutcome.UNKNOWN


@pytest.mark.parametrize("requests", [0, 1])
def test_a_reset_leaves_open_whether_the_request_was_read(requests: int):
    """The kernel resets a connection that is closed with unread bytes; a process may reset one that it has read."""
    upstream, theirs = connected(requests)
    upstream.send_request(ASK, head_only=False)
    theirs.close()
    with pytest.raises(UpstreamError) as caught:
        upstream.read_head()
    upstream.close()
    assert (caught.value.outcome, caught.value.reset) == (AttemptOutcome.UNKNOWN, True)


@pytest.mark.parametrize("requests", [0, 1])
def test_a_request_that_came_after_the_connection_closed_was_not_processed(requests: int):
    upstream, theirs = connected(requests)
    theirs.close()
    upstream.send_request(ASK, head_only=False)
    assert outcome(upstream) is AttemptOutcome.UNSENT


def test_a_request_of_which_a_part_is_unacknowledged_was_not_processed():
    upstream, theirs = connected(0)
    upstream.sock.settimeout(0.1)  # nothing reads all of it
    upstream.send_request(b"x" * 50_000_000, head_only=False)
    theirs.recv(1000)
    theirs.close()
    assert outcome(upstream) is AttemptOutcome.UNSENT


def test_a_reset_while_the_request_is_sent_cuts_an_answer_without_length():
    """The send fails with the reset. The kernel reports a reset only once, so reading finds an end as if in order."""
    upstream, theirs = connected(0)

    def answer_early() -> None:
        theirs.recv(1)
        theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        theirs.close()  # with unread bytes, which makes it a reset

    instance = threading.Thread(target=answer_early)
    instance.start()
    upstream.send_request(b"x" * 50_000_000, head_only=False)
    instance.join()
    upstream.read_head()
    assert upstream.read() == b"half of it"
    with pytest.raises(UpstreamError, match="in the middle of its answer"):
        upstream.read()
    upstream.close()


def test_an_instance_that_listens_no_more_has_died():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not refuses_connections(target("a", port=port))
    assert refuses_connections(target("a", port=port))


@pytest.mark.parametrize("length_header", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_half_an_answer(pair: Pair, length_header: bytes):
    with pytest.raises(UpstreamError, match="in the middle of its answer"):
        answer(pair, b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % length_header, closes=True)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_of_an_instance_raise_at_most_upstream_error(data: bytes, begun: bool):
    pair = _pair()
    try:
        answer(pair, (b"HTTP/1.1 200 OK\r\n" if begun else b"") + data, closes=True)
    except UpstreamError:
        pass
    finally:
        pair[0].close()
        pair[1].close()


def used(connections: UpstreamPool, now: float) -> Pair:
    """A connection that answered, given back."""
    pair = _pair()
    answer(pair, OK)
    connections.release(pair[0], now)
    return pair


def test_the_connection_used_last_is_taken_first():
    connections = UpstreamPool()
    first, second = used(connections, 1.0), used(connections, 1.1)
    assert connections.idle_count() == 2
    assert connections.take(target("a")) is second[0]
    assert connections.take(target("a")) is first[0]
    assert connections.take(target("a")) is None
    assert connections.take(target("a", port=1)) is None


def test_what_is_not_whole_is_closed():
    connections = UpstreamPool()
    upstream, theirs = _pair()
    connections.release(upstream, 1.0)
    assert connections.idle_count() == 0
    assert theirs.recv(1) == b""


def test_one_that_its_peer_closed_or_spoke_on_is_not_taken():
    connections = UpstreamPool()
    good = used(connections, 1.0)
    closed, spoke = used(connections, 1.0), used(connections, 1.0)
    closed[1].close()
    spoke[1].sendall(b"HTTP/1.1 408 Timeout\r\n\r\n")
    assert connections.take(target("a")) is good[0]
    assert connections.take(target("a")) is None
    assert spoke[0].sock.fileno() == -1


def test_pruning_closes_what_is_old_or_closed():
    connections = UpstreamPool()
    old, closed, good = used(connections, 0.0), used(connections, 30.0), used(connections, 30.0)
    closed[1].close()
    connections.prune(IDLE_TIMEOUT_SECONDS + 1)
    assert connections.idle_count() == 1
    assert connections.take(target("a")) is good[0]
    assert old[1].recv(100)
    assert old[1].recv(1) == b""
    connections.prune(IDLE_TIMEOUT_SECONDS + 1)
    assert not connections._idle  # noqa: SLF001 - no key is left of an instance that went


def test_connecting_to_a_closed_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = target("a", port=taken.getsockname()[1])
        with pytest.raises(UpstreamError, match="refused") as caught:
            UpstreamPool().connect(nobody)
    assert caught.value.outcome is AttemptOutcome.UNSENT
    assert not caught.value.timeout


@pytest.mark.parametrize("host", ["gpu7", "169.254.169.254"])
def test_a_registered_instance_is_connected_to_where_instances_may_be(host: str, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
        with pytest.raises(UpstreamError, match="machine itself|metadata service") as failure:
            UpstreamPool().connect(target("a", host=host))
        assert failure.value.outcome is AttemptOutcome.UNSENT
        if host == "gpu7":  # an operator's file of static services is believed
            UpstreamPool().connect(target("a", host=host, static=True)).close()
