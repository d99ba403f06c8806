"""The mock as a process: the official client against it, and every way to misbehave on a real connection."""

import http.client
import json
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import openai
import pytest

from tests.integration.fakes import SVC, Mock, mock
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello there"}]
STREAM = {"messages": HELLO, "stream": True}


@pytest.fixture(scope="module")
def shared() -> Iterator[Mock]:
    """A mock that behaves."""
    with mock("alpha", ("qwen", "org/llama")) as backend:
        yield backend


@pytest.fixture
def client(shared):
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def post(backend: Mock, body: dict, path: str = CHAT) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=10)
    connection.request("POST", path, json.dumps(body))
    return connection.getresponse()


def connect(backend: Mock, body: dict) -> socket.socket:
    """A connection on which a chat was asked for."""
    sock = socket.create_connection(("127.0.0.1", backend.port), timeout=10)
    raw = json.dumps(body).encode()
    sock.sendall(b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(raw), raw))
    return sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


# --- the official client


def test_the_client_lists_and_retrieves_models(client):
    assert [model.id for model in client.models.list()] == ["qwen", "org/llama"]
    assert client.models.retrieve("org/llama").owned_by == "alpha"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


def test_the_client_chats(client):
    raw = client.chat.completions.with_raw_response.create(model="qwen", messages=HELLO, n=2)
    answer = raw.parse()
    assert raw.headers["x-mock-name"] == "alpha"
    assert [choice.message.content for choice in answer.choices] == ["alpha heard: Hello there"] * 2
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


def test_the_client_sees_the_prefix_cache(client):
    long = [{"role": "user", "content": "a long prompt that comes twice; " * 20}]
    first, second = (client.chat.completions.create(model="qwen", messages=long).usage for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens == 0
    assert 0 < second.prompt_tokens_details.cached_tokens <= second.prompt_tokens


def test_the_client_streams_a_chat_with_its_usage(client):
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="qwen", messages=HELLO, max_tokens=3, stream=True, stream_options=options
    )
    chunks = list(stream)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "alpha heard: Hello"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices] == [None, None, None, "length"]
    assert chunks[-1].usage.completion_tokens == 3


def test_the_client_completes_in_one_piece_and_in_a_stream(client):
    answer = client.completions.create(model="qwen", prompt=["one", "two"])
    assert [choice.text for choice in answer.choices] == ["alpha heard: one", "alpha heard: two"]
    stream = client.completions.create(model="qwen", prompt="one two", stop=" two", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "alpha heard: one"


def test_the_client_embeds(client):
    packed = client.embeddings.create(model="qwen", input=["x", "y"], dimensions=8)  # it asks for base64
    plain = client.embeddings.create(model="qwen", input="x", dimensions=8, encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert math.hypot(*plain.data[0].embedding) == pytest.approx(1)


def test_the_client_is_told_what_was_wrong(client):
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist") as caught:
        client.chat.completions.create(model="nope", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="qwen", messages=[])


# --- HTTP


def test_a_connection_is_kept_and_takes_requests_behind_one_another(shared):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as sock:
        get = b"GET /v1/models HTTP/1.1\r\nHost: m\r\n"
        sock.sendall(get + b"\r\nHEAD /health HTTP/1.1\r\nHost: m\r\n\r\n" + get + b"Connection: close\r\n\r\n")
        answers = read_all(sock)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(b'"org/llama"') == 2
    assert b"ok" not in answers


def test_echo_tells_of_any_method_and_of_chunked_bodies(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    pieces = (b"x" * 100_000 for _ in range(30))
    connection.request("PURGE", "/echo/a%2Fb?q=1&q=2", pieces, {"X-One": "1"}, encode_chunked=True)
    told = json.load(connection.getresponse())
    assert (told["method"], told["target"], told["query"]) == ("PURGE", "/echo/a%2Fb?q=1&q=2", "q=1&q=2")
    assert (told["body_length"], told["headers"]["x-one"]) == (3_000_000, "1")


def test_a_head_and_its_body_come_without_waiting_for_each_other(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    begun = time.monotonic()
    for _ in range(50):
        connection.request("POST", CHAT, json.dumps({"messages": HELLO}))
        connection.getresponse().read()
    assert time.monotonic() - begun < 50 * 0.030, "each waited for a delayed ACK"


def test_a_request_is_cheap(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    body = json.dumps({"messages": [{"role": "user", "content": "x " * 2000}]})

    def cpu() -> float:
        fields = open(f"/proc/{shared.process.pid}/stat").read().rpartition(")")[2].split()  # noqa: SIM115
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu()
    for _ in range(500):
        connection.request("POST", CHAT, body)
        connection.getresponse().read()
    assert (cpu() - before) / 500 < 0.001


# --- misbehaviour


@pytest.fixture(scope="module")
def naughty_process() -> Iterator[Mock]:
    with mock("beta") as backend:
        yield backend


@pytest.fixture
def naughty(naughty_process):
    good = naughty_process.behave()
    yield naughty_process
    naughty_process.behave(**good)


def test_the_first_token_and_the_next_ones_take_their_time(naughty):
    naughty.behave(first_token_delay=0.3, token_delay=0.1, tokens=3)
    begun = time.monotonic()
    answer = post(naughty, STREAM)
    first = time.monotonic() - begun
    assert answer.read().endswith(b"data: [DONE]\n\n")
    assert first >= 0.3
    assert time.monotonic() - begun >= 0.5


def test_events_are_sent_one_by_one(naughty):
    naughty.behave(hang_after=1)
    answer = post(naughty, STREAM)
    assert answer.readline().startswith(b"data: {")
    assert naughty.stats()["open_streams"] == 1


@pytest.mark.parametrize("cut", [{"cut_after": 2}, {"cut_after": 2, "cut_bytes": 11}])
def test_a_stream_is_cut(naughty, cut):
    naughty.behave(**cut)
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(naughty, STREAM).read()
    whole, rest = caught.value.partial.rsplit(b"\n\n", 1)
    assert whole.count(b"data: ") == 2
    assert rest == (b'data: {"id"' if "cut_bytes" in cut else b"")


@pytest.mark.parametrize("size", [0, 11])
def test_a_body_is_cut(naughty, size):
    naughty.behave(cut_bytes=size)
    answer = post(naughty, {"messages": HELLO})
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert len(caught.value.partial) == size


def test_a_stream_can_be_cut_before_its_head_and_right_after_it(naughty):
    naughty.behave(cut_after=0)
    with pytest.raises(http.client.RemoteDisconnected):
        post(naughty, STREAM)
    naughty.behave(cut_after=None, cut_bytes=0)
    answer = post(naughty, STREAM)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_a_cut_with_a_reset_is_one(naughty):
    naughty.behave(cut_after=1, reset=True)
    with connect(naughty, STREAM) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)


@pytest.mark.parametrize(("reset", "error"), [(False, http.client.RemoteDisconnected), (True, ConnectionResetError)])
def test_a_dropped_request_gets_no_byte(naughty, reset, error):
    naughty.behave(drop=True, reset=reset)
    with pytest.raises(error) as caught:
        post(naughty, {"messages": HELLO})
    assert type(caught.value) is error


def test_every_third_fails(naughty):
    naughty.behave(fail_status=503, fail_every=3)
    statuses = [post(naughty, {"messages": HELLO}).status for _ in range(6)]
    assert sorted(statuses) == [200] * 4 + [503] * 2
    assert statuses[:3] == statuses[3:]


@pytest.mark.parametrize("flags", [{"hang": True}, {"hang_after": 2}, {"first_token_delay": 1000}])
def test_a_client_that_leaves_is_noticed_at_once(naughty, flags):
    naughty.behave(**flags)
    before = naughty.stats()
    sock = connect(naughty, STREAM)
    wait_until(lambda: naughty.stats()["open_requests"] == 1, description="the request to arrive")
    sock.close()
    wait_until(
        lambda: naughty.stats()["cut_by_client"] == before["cut_by_client"] + 1,
        timeout=2,
        description="the client's end",
    )
    after = naughty.stats()
    assert (after["open_requests"], after["open_streams"], after["finished"]) == (0, 0, before["finished"])


def test_a_client_that_leaves_is_noticed_at_the_next_write(naughty):
    naughty.behave(tokens=1_000_000)
    before = naughty.stats()["cut_by_client"]
    sock = connect(naughty, STREAM)
    sock.recv(100)
    sock.close()
    wait_until(lambda: naughty.stats()["cut_by_client"] == before + 1, description="the client's end")


def test_a_client_that_leaves_within_its_own_body_is_noticed(naughty):
    before = naughty.stats()["cut_by_client"]
    with socket.create_connection(("127.0.0.1", naughty.port)) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\nabc")
    wait_until(lambda: naughty.stats()["cut_by_client"] == before + 1, description="the client's end")


def test_nothing_of_this_was_worth_a_line(naughty):
    assert naughty.output().splitlines()[1:] == []


# --- the process


def test_it_loads_first():
    with mock(loading=1.5) as backend:
        answer = post(backend, {"messages": HELLO})
        assert (answer.status, json.load(answer)["error"]["message"]) == (503, "Loading model")
        backend.behave(loading=0)
        assert post(backend, {"messages": HELLO}).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_and_quietly(number):
    with mock(hang_after=1) as backend, connect(backend, STREAM) as sock:
        sock.recv(100)
        begun = time.monotonic()
        assert backend.kill(number) == 0
        assert time.monotonic() - begun < 1
        assert len(backend.output().splitlines()) == 1


def test_it_dies_when_told_and_comes_back():
    with mock(exit_code=7) as backend:
        backend.behave(exit_after=0.05)
        assert backend.process.wait(timeout=5) == 7
        backend.start()
        assert post(backend, {"messages": HELLO}).status == 200


def test_it_dies_after_its_time():
    with mock(exit_after=0.5, exit_code=0) as backend:
        assert backend.process.wait(timeout=5) == 0


def test_a_taken_port_is_one_line():
    with mock() as backend:
        done = subprocess.run([SVC, "mock", "--port", str(backend.port)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{backend.port}: the port is taken" in done.stderr


def test_wrong_use_is_told():
    done = subprocess.run([SVC, "mock", "--models", " , "], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "names no model" in done.stderr


def holds(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_its_child_holds_the_port_beyond_a_kill():
    with mock(child=True) as backend:
        child = backend.stats()["child"]
        backend.kill()
        os.kill(child, 0)
        assert holds(backend.port)
    wait_until(lambda: not holds(backend.port), description="the port to be free")


def test_its_child_ends_with_it_when_it_is_asked_to_end():
    with mock(child=True) as backend:
        assert backend.kill(signal.SIGTERM) == 0
        assert not holds(backend.port)
