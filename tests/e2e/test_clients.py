"""The official clients of OpenAI and Anthropic through a router: answers, streams and errors as they expect them.

The npm client's tests stand in clients/openai.mjs, which is run here.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.client_libraries import anthropic, openai
from tests.fork_server import SCRIPT
from tests.integration.fakes import Mock, mock
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

CLIENTS = Path(__file__).parent / "clients"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (("clock", {}), ("weather", {"city": {"type": "string"}}))
]
WEATHER: Any = {"type": "function", "function": {"name": "weather"}}
CHAT: Any = {"model": "qwen", "messages": HELLO}
MESSAGE: Any = {**CHAT, "max_tokens": 99}


class Site(NamedTuple):
    """`alpha` has the models qwen and both, `beta` has org/llama and both; `keyed` requires a key.

    `narrow` is the secret of a key that may have one request open at a time.
    """

    alpha: Mock
    beta: Mock
    open: Router
    keyed: Router
    wide: str
    narrow: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("clients")
    keys = root / "keys.toml"
    wide, narrow = new_key(keys, "wide"), new_key(keys, "narrow", "--concurrency", "1")
    with ExitStack() as stack:
        alpha = stack.enter_context(mock("alpha", ("qwen", "both")))
        beta = stack.enter_context(mock("beta", ("org/llama", "both")))
        services = [service(m.name, m.port, *m.models) for m in (alpha, beta)]
        flags = ("--static-services", static(root / "static.json", services), "--max-errors", 1000)
        unlocked = stack.enter_context(router(*flags))
        locked = stack.enter_context(router(*flags, "--keys-file", keys))
        yield Site(alpha, beta, unlocked, locked, wide, narrow)
        assert "Traceback" not in unlocked.output() + locked.output()
        assert unlocked.in_flight() == 0


def new_key(file: Path, name: str, *limits: str) -> str:
    command = [str(SCRIPT), "keys", "add", name, "--file", str(file), *limits]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    """Reset the mocks before and after the test."""
    yield served
    for backend in (served.alpha, served.beta):
        backend.behave(
            **dict.fromkeys(("tokens", "cut_after", "cut_bytes", "hang_after", "fail_status")), token_delay=0
        )


def openai_at(router: Router, key: str = "none", **more: Any) -> "openai.OpenAI":
    return openai.OpenAI(base_url=f"{router.url}/v1", api_key=key, **{"max_retries": 0, "timeout": 20, **more})


def anthropic_at(router: Router, key: str = "none", **more: Any) -> "anthropic.Anthropic":
    return anthropic.Anthropic(base_url=router.url, api_key=key, **{"max_retries": 0, "timeout": 20, **more})


@pytest.fixture
def client(site: Site) -> "Iterator[openai.OpenAI]":
    with openai_at(site.open) as client:
        yield client


@pytest.fixture
def claude(site: Site) -> "Iterator[anthropic.Anthropic]":
    with anthropic_at(site.open) as client:
        yield client


# Requests of the openai client.


def test_openai_lists_each_model_once_and_retrieves_one(client):
    assert sorted(model.id for model in client.models.list()) == ["both", "org/llama", "qwen"]
    assert client.models.retrieve("org/llama").id == "org/llama"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"


def test_openai_chats_with_the_instance_that_has_the_model(client):
    for model, name in (("qwen", "alpha"), ("org/llama", "beta")):
        answer = client.chat.completions.create(model=model, messages=HELLO)
        assert (answer.model, answer.choices[0].message.content) == (model, f"{name} heard: Hello there")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 4


def test_openai_gets_the_request_id(client):
    raw = client.chat.completions.with_raw_response.create(**CHAT, extra_headers={"x-request-id": "mine"})
    assert raw.request_id == raw.parse()._request_id == "mine"


def test_openai_streams_a_chat_with_its_usage(client):
    stream = client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert [c.delta.content for chunk in chunks for c in chunk.choices][:-1] == ["alpha", " heard:", " Hello", " there"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 4


def test_openai_s_stream_helper_assembles_a_chat(client):
    with client.chat.completions.stream(**CHAT) as stream:
        assert stream.get_final_completion().choices[0].message.content == "alpha heard: Hello there"


def test_openai_gets_a_tool_call(client):
    answer = client.chat.completions.create(**CHAT, tools=TOOLS, tool_choice=WEATHER)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Hello there"})


def test_openai_assembles_a_streamed_tool_call(client):
    with client.chat.completions.stream(**CHAT, tools=TOOLS, tool_choice=WEATHER) as stream:
        deltas = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert len(deltas) > 1
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Hello there"})


def test_openai_completes_with_and_without_a_stream(client):
    answer = client.completions.create(model="qwen", prompt=["one", "two"])
    assert [choice.text for choice in answer.choices] == ["alpha heard: one", "alpha heard: two"]
    stream = client.completions.create(model="qwen", prompt="one two", stop=" two", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "alpha heard: one"


def test_openai_embeds(client):
    packed = client.embeddings.create(model="qwen", input=["x", "y"], dimensions=8)  # it asks for base64
    plain = client.embeddings.create(model="qwen", input="x", dimensions=8, encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert len(packed.data) == 2


def test_openai_gets_a_response(client):
    answer = client.responses.create(model="qwen", input="Hello there", instructions="be brief")
    assert (answer.status, answer.output_text) == ("completed", "alpha heard: Hello there")
    assert answer.usage.output_tokens == 4


def test_openai_streams_a_response(client):
    events = list(client.responses.create(model="qwen", input="Hello there", stream=True))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["alpha", " heard:", " Hello", " there"]
    with client.responses.stream(model="qwen", input=HELLO) as stream:
        assert stream.get_final_response().output_text == "alpha heard: Hello there"


def test_openai_gets_speech_and_transcribes_it(client, tmp_path):
    client.audio.speech.create(model="qwen", input="Hello", voice="alloy").write_to_file(tmp_path / "hello.wav")
    sound = (tmp_path / "hello.wav").read_bytes()
    assert sound[:4] == b"RIFF"
    # The model stands in a form, into which the router looks; each twice, as once can be luck.
    for model, name in (("qwen", "alpha"), ("qwen", "alpha"), ("org/llama", "beta"), ("org/llama", "beta")):
        with (tmp_path / "hello.wav").open("rb") as file:
            transcription = client.audio.transcriptions.create(model=model, file=file)
        assert transcription.text == f"{name} heard: hello.wav, {len(sound)} bytes"


def test_openai_generates_images(client):
    images = client.images.generate(model="org/llama", prompt="a cat", n=2)
    assert [base64.b64decode(image.b64_json)[1:4] for image in images.data] == [b"PNG"] * 2


def test_documents_are_reranked_over_plain_http(site):
    payload = {"model": "org/llama", "query": "red apples", "documents": ["pears", "red apples", "red"], "top_n": 2}
    answer = requests.post(f"{site.open.url}/v1/rerank", json=payload, timeout=10).json()
    assert [result["index"] for result in answer["results"]] == [1, 2]
    assert answer["id"].startswith("rerank-beta")


# Requests of the anthropic client.


def test_anthropic_gets_a_message(claude):
    message = claude.messages.create(**MESSAGE, system="be brief", stop_sequences=[" there"])
    assert [block.text for block in message.content] == ["alpha heard: Hello"]
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", " there")
    assert (message.model, message.usage.output_tokens) == ("qwen", 3)


def test_anthropic_streams_a_message(claude):
    kinds = [event.type for event in claude.messages.create(**MESSAGE, stream=True)]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    with claude.messages.stream(**MESSAGE) as stream:
        assert list(stream.text_stream) == ["alpha", " heard:", " Hello", " there"]
        message = stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 4)
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 0


# What fails.


def test_an_unknown_model_is_an_error_in_each_api(client, claude):
    message = "No healthy services available for model 'nope'"
    for call in (client.chat.completions.create, client.completions.create):
        arguments = {"messages": HELLO} if call == client.chat.completions.create else {"prompt": "x"}
        with pytest.raises(openai.InternalServerError) as caught:
            call(model="nope", **arguments)
        assert (caught.value.status_code, caught.value.code) == (503, "service_unavailable")
        assert caught.value.body["message"] == message
    with pytest.raises(anthropic.NotFoundError) as refused:
        claude.messages.create(model="qwn", messages=HELLO, max_tokens=9)
    message = "The model 'qwn' does not exist; did you mean qwen?"
    assert refused.value.body == {"type": "error", "error": {"type": "not_found_error", "message": message}}


def test_an_instance_s_error_reaches_the_client_unchanged(site, client, claude):
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="qwen", messages=[])
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        claude.messages.create(model="qwen", messages=[], max_tokens=9)
    site.alpha.behave(fail_status=429)
    with pytest.raises(openai.RateLimitError, match="alpha was told to fail"):
        client.chat.completions.create(**CHAT)
    with pytest.raises(anthropic.RateLimitError, match="alpha was told to fail"):
        claude.messages.create(**MESSAGE)


def test_a_cut_stream_is_an_error_to_openai(site, client):
    site.alpha.behave(cut_after=2)
    streams = {
        "chat": client.chat.completions.create(**CHAT, stream=True),
        "completions": client.completions.create(model="qwen", prompt="x y", stream=True),
        "responses": client.responses.create(model="qwen", input="x y", stream=True),
    }
    for path, stream in streams.items():
        events = []
        with pytest.raises(openai.APIError, match="broke off") as caught:
            events.extend(stream)
        assert not isinstance(caught.value, openai.APIConnectionError), path
        assert caught.value.code == "bad_gateway", path
        assert len(events) == 2, path


def test_a_cut_stream_is_an_error_to_anthropic(site, claude):
    site.alpha.behave(cut_after=5)
    events = []
    with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
        events.extend(event.type for event in claude.messages.create(**MESSAGE, stream=True))
    assert events.count("content_block_delta") == 2
    assert caught.value.body["error"]["type"] == "api_error"


def test_a_cut_body_is_an_error_of_the_whole_request(site, client, claude):
    site.alpha.behave(cut_bytes=9)
    with pytest.raises(openai.InternalServerError, match="in the middle of its answer") as failure:
        client.chat.completions.create(**CHAT)
    with pytest.raises(anthropic.InternalServerError, match="in the middle of its answer") as refusal:
        claude.messages.create(**MESSAGE)
    assert (failure.value.status_code, refusal.value.status_code) == (502, 502)


def test_a_client_without_a_key_is_refused(site):
    with openai_at(site.keyed, "sk-wrong") as client, anthropic_at(site.keyed, "sk-wrong") as claude:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(**CHAT)
        assert (caught.value.code, caught.value.status_code) == ("invalid_api_key", 401)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        with pytest.raises(anthropic.AuthenticationError) as refused:
            claude.messages.create(**MESSAGE)
        assert refused.value.body["error"]["type"] == "authentication_error"


def test_each_client_sends_its_key_in_its_own_header(site):
    secret = site.wide
    with openai_at(site.keyed, secret) as client, anthropic_at(site.keyed, secret) as claude:
        assert len(list(client.models.list())) == 3
        assert client.chat.completions.create(**CHAT).choices
        assert claude.messages.create(**MESSAGE).content
    with anthropic_at(site.keyed, "for somebody else", default_headers={"x-api-key": secret}) as claude:
        assert claude.messages.create(**MESSAGE).content  # older ones, and curl, send it so
    for name in ("authorization", "x-api-key"):
        assert name not in site.alpha.stats()["last_headers"]  # it is the router's, not the instance's


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_client_over_its_limit_waits_for_retry_after(site, kind):
    """The clients' own pause before the first retry is half a second at most; Retry-After is a second at least."""
    library, connect = {"openai": (openai, openai_at), "anthropic": (anthropic, anthropic_at)}[kind]

    def ask(client: Any) -> object:
        return client.chat.completions.create(**CHAT) if kind == "openai" else client.messages.create(**MESSAGE)

    refused: list[tuple[float, int]] = []

    def record(response: Any) -> None:
        if response.status_code == 429:
            refused.append((time.monotonic(), int(response.headers["retry-after"])))
            held.close()

    secret = site.narrow
    http = library.DefaultHttpxClient(event_hooks={"response": [record]})
    site.alpha.behave(hang_after=1)
    with openai_at(site.keyed, secret) as first, connect(site.keyed, secret) as hasty:
        held = first.chat.completions.create(**CHAT, stream=True)
        next(held)
        with pytest.raises(library.RateLimitError, match="key narrow on concurrent requests"):
            ask(hasty)
        with connect(site.keyed, secret, max_retries=1, http_client=http) as patient:
            assert ask(patient)
    ((when, wait),) = refused
    assert 1 <= wait <= time.monotonic() - when < wait + 5


@pytest.mark.parametrize("kind", ["chat", "responses", "messages"])
def test_a_stream_that_the_client_closes_ends_at_the_instance(site, client, claude, kind):
    site.alpha.behave(tokens=100_000, token_delay=0.01)
    before = site.alpha.stats()["cut_by_client"]
    stream = {
        "chat": lambda: client.chat.completions.create(**CHAT, stream=True),
        "responses": lambda: client.responses.create(model="qwen", input="x y", stream=True),
        "messages": lambda: claude.messages.create(**MESSAGE | {"max_tokens": 100_000}, stream=True),
    }[kind]()
    next(iter(stream))
    assert site.open.in_flight() == 1
    stream.close()
    wait_until(
        lambda: site.alpha.stats()["cut_by_client"] == before + 1, timeout=2, description="the instance to see it"
    )
    assert site.alpha.stats()["open_streams"] == 0
    wait_until(lambda: site.open.in_flight() == 0, timeout=2, description="the router to count it out")


# The npm client.


def test_the_npm_client(site, tmp_path):
    """Run openai.mjs with the client of package-lock.json."""
    if not shutil.which("npm") or not shutil.which("node"):
        reason = "node and npm are not installed (Debian: apt install nodejs npm)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    place = shutil.copytree(CLIENTS, tmp_path / "clients", ignore=shutil.ignore_patterns("node_modules"))
    run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"], place)
    urls = {"OPEN_URL": site.open.url, "KEYED_URL": site.keyed.url, "ALPHA_URL": site.alpha.url}
    run(["node", "openai.mjs"], place, **urls, WIDE_KEY=site.wide, NARROW_KEY=site.narrow)


def run(command: list[str], place: Path, **environ: str) -> None:
    done = subprocess.run(
        command,
        cwd=place,
        env=os.environ | environ,
        text=True,
        timeout=150,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
