"""The mock as a process: OpenAI's own client, and every kind of misbehaviour on a real connection."""

import http.client
import json
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.client_libraries import openai
from tests.fork_server import SCRIPT
from tests.integration.fakes import Mock, mock
from tests.waiting import free_port, wait_until

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello there"}]
STREAM = {"messages": HELLO, "stream": True}


@pytest.fixture(scope="module")
def shared() -> Iterator[Mock]:
    """Return a mock that does not misbehave."""
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
    """Return a connection on which a chat request was sent."""
    sock = socket.create_connection(("127.0.0.1", backend.port), timeout=10)
    raw = json.dumps(body).encode()
    sock.sendall(b"POST %b HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(raw), raw))
    return sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


# OpenAI's client


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


def test_the_client_completes_with_and_without_a_stream(client):
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


def test_the_client_gets_errors_with_their_reason(client):
    with pytest.raises(openai.NotFoundError, match="`nope` does not exist") as caught:
        client.chat.completions.create(model="nope", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="qwen", messages=[])


# HTTP


def test_a_connection_is_kept_and_serves_pipelined_requests(shared):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as sock:
        get = b"GET /v1/models HTTP/1.1\r\nHost: m\r\n"
        sock.sendall(get + b"\r\nHEAD /health HTTP/1.1\r\nHost: m\r\n\r\n" + get + b"Connection: close\r\n\r\n")
        answers = read_all(sock)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(b'"org/llama"') == 2
    assert b"ok" not in answers


def test_echo_accepts_any_method_and_chunked_bodies(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    pieces = (b"x" * 100_000 for _ in range(30))
    connection.request("PURGE", "/echo/a%2Fb?q=1&q=2", pieces, {"X-One": "1"}, encode_chunked=True)
    echo = json.load(connection.getresponse())
    assert (echo["method"], echo["target"], echo["query"]) == ("PURGE", "/echo/a%2Fb?q=1&q=2", "q=1&q=2")
    assert (echo["body_length"], echo["headers"]["x-one"]) == (3_000_000, "1")


def test_head_and_body_of_an_answer_wait_for_no_delayed_ack(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    began = time.monotonic()
    for _ in range(50):
        connection.request("POST", CHAT, json.dumps({"messages": HELLO}))
        connection.getresponse().read()
    assert time.monotonic() - began < 50 * 0.030, "each waited for a delayed ACK"


def test_a_request_costs_less_than_a_millisecond_of_cpu(shared):
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


# Misbehaviour


@pytest.fixture(scope="module")
def misbehaving_process() -> Iterator[Mock]:
    with mock("beta") as backend:
        yield backend


@pytest.fixture
def misbehaving(misbehaving_process):
    defaults = misbehaving_process.behave()
    yield misbehaving_process
    misbehaving_process.behave(**defaults)


def test_the_first_token_and_the_next_ones_are_delayed(misbehaving):
    misbehaving.behave(first_token_delay=0.3, token_delay=0.1, tokens=3)
    began = time.monotonic()
    answer = post(misbehaving, STREAM)
    first = time.monotonic() - began
    assert answer.read().endswith(b"data: [DONE]\n\n")
    assert first >= 0.3
    assert time.monotonic() - began >= 0.5


def test_events_are_sent_one_by_one(misbehaving):
    misbehaving.behave(hang_after=1)
    answer = post(misbehaving, STREAM)
    assert answer.readline().startswith(b"data: {")
    assert misbehaving.stats()["open_streams"] == 1


@pytest.mark.parametrize("cut", [{"cut_after": 2}, {"cut_after": 2, "cut_bytes": 11}])
def test_a_stream_is_cut_after_so_many_events(misbehaving, cut):
    misbehaving.behave(**cut)
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(misbehaving, STREAM).read()
    whole, rest = caught.value.partial.rsplit(b"\n\n", 1)
    assert whole.count(b"data: ") == 2
    assert rest == (b'data: {"id"' if "cut_bytes" in cut else b"")


@pytest.mark.parametrize("size", [0, 11])
def test_a_body_is_cut_after_so_many_bytes(misbehaving, size):
    misbehaving.behave(cut_bytes=size)
    answer = post(misbehaving, {"messages": HELLO})
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert len(caught.value.partial) == size


def test_a_stream_can_be_cut_before_its_head_and_right_after_it(misbehaving):
    misbehaving.behave(cut_after=0)
    with pytest.raises(http.client.RemoteDisconnected):
        post(misbehaving, STREAM)
    misbehaving.behave(cut_after=None, cut_bytes=0)
    answer = post(misbehaving, STREAM)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_a_cut_with_reset_sends_a_tcp_reset(misbehaving):
    misbehaving.behave(cut_after=1, reset=True)
    with connect(misbehaving, STREAM) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)


@pytest.mark.parametrize(("reset", "error"), [(False, http.client.RemoteDisconnected), (True, ConnectionResetError)])
def test_a_dropped_request_gets_no_byte(misbehaving, reset, error):
    misbehaving.behave(drop=True, reset=reset)
    with pytest.raises(error) as caught:
        post(misbehaving, {"messages": HELLO})
    assert type(caught.value) is error


def test_every_third_request_fails(misbehaving):
    misbehaving.behave(fail_status=503, fail_every=3)
    statuses = [post(misbehaving, {"messages": HELLO}).status for _ in range(6)]
    assert sorted(statuses) == [200] * 4 + [503] * 2
    assert statuses[:3] == statuses[3:]


@pytest.mark.parametrize("flags", [{"hang": True}, {"hang_after": 2}, {"first_token_delay": 1000}])
def test_a_client_that_leaves_is_noticed_at_once(misbehaving, flags):
    misbehaving.behave(**flags)
    before = misbehaving.stats()
    sock = connect(misbehaving, STREAM)
    wait_until(lambda: misbehaving.stats()["open_requests"] == 1, description="the request to arrive")
    sock.close()
    wait_until(
        lambda: misbehaving.stats()["cut_by_client"] == before["cut_by_client"] + 1,
        timeout=2,
        description="the client's end",
    )
    after = misbehaving.stats()
    assert (after["open_requests"], after["open_streams"], after["finished"]) == (0, 0, before["finished"])


def test_a_client_that_leaves_is_noticed_at_the_next_write(misbehaving):
    misbehaving.behave(tokens=1_000_000)
    before = misbehaving.stats()["cut_by_client"]
    sock = connect(misbehaving, STREAM)
    sock.recv(100)
    sock.close()
    wait_until(lambda: misbehaving.stats()["cut_by_client"] == before + 1, description="the client's end")


def test_a_client_that_leaves_while_it_sends_is_noticed(misbehaving):
    before = misbehaving.stats()["cut_by_client"]
    with socket.create_connection(("127.0.0.1", misbehaving.port)) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\nabc")
    wait_until(lambda: misbehaving.stats()["cut_by_client"] == before + 1, description="the client's end")


def test_misbehaviour_logs_nothing(misbehaving):
    assert misbehaving.output().splitlines()[1:] == []


# The process


def test_a_mock_that_loads_answers_503_first():
    with mock(loading=1.5) as backend:
        answer = post(backend, {"messages": HELLO})
        assert (answer.status, json.load(answer)["error"]["message"]) == (503, "Loading model")
        backend.behave(loading=0)
        assert post(backend, {"messages": HELLO}).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_mock_at_once_without_output(number):
    with mock(hang_after=1) as backend, connect(backend, STREAM) as sock:
        sock.recv(100)
        began = time.monotonic()
        assert backend.kill(number) == 0
        assert time.monotonic() - began < 1
        assert len(backend.output().splitlines()) == 1


def test_an_exit_that_is_set_at_run_time_has_its_exit_code():
    with mock(exit_code=7) as backend:
        backend.behave(exit_after=0.05)
        assert backend.process.wait(timeout=5) == 7
        backend.start()
        assert post(backend, {"messages": HELLO}).status == 200


def test_the_mock_exits_after_its_time():
    arguments = [SCRIPT, "mock", "--port", str(free_port()), "--exit-after", "0.05", "--exit-code", "7"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert (done.returncode, "Traceback" in done.stderr) == (7, False), done.stderr


def test_a_taken_port_is_one_line_of_error():
    with mock() as backend:
        done = subprocess.run([SCRIPT, "mock", "--port", str(backend.port)], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{backend.port}: the port is taken" in done.stderr


def test_an_empty_list_of_models_is_refused():
    done = subprocess.run([SCRIPT, "mock", "--models", " , "], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "names no model" in done.stderr


def is_held(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_its_child_holds_the_port_after_the_mock_is_killed():
    with mock(child=True) as backend:
        child = backend.stats()["child"]
        backend.kill()
        os.kill(child, 0)
        assert is_held(backend.port)
    wait_until(lambda: not is_held(backend.port), description="the port to be free")


def test_its_child_ends_with_it_when_it_is_asked_to_end():
    with mock(child=True) as backend:
        assert backend.kill(signal.SIGTERM) == 0
        assert not is_held(backend.port)
