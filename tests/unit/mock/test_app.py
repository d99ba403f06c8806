"""The mock's application, without a server."""

import io
import json

import pytest

from svc.mock import request_reply
from svc.mock.mock_statistics import METRICS
from tests.unit.mock.in_process import FakeConnection, InProcessMock

CHAT = "/v1/chat/completions"
CHAT_BODY = {"model": "a", "messages": [{"role": "user", "content": "x y"}]}
STREAM_BODY = {**CHAT_BODY, "stream": True}


def test_an_answer_names_the_instance():
    mock = InProcessMock()
    assert mock.json("POST", CHAT, CHAT_BODY)["choices"][0]["message"]["content"] == "m heard: x y"
    assert mock.headers["x-mock-name"] == "m"
    assert mock.status == "200 OK"


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_models_are_listed(path):
    assert [model["id"] for model in InProcessMock().json("GET", path)["data"]] == ["a", "b/c"]


def test_a_mock_with_a_key_refuses_clients_without_it_under_v1():
    mock = InProcessMock()
    mock.app.api_key = "k"
    assert mock.json("GET", "/v1/models")["error"]["code"] == "invalid_api_key"
    assert mock.status[:3] == "401"
    mock.json("GET", "/health")
    assert mock.status[:3] == "200"


@pytest.mark.parametrize("path", [CHAT, "/chat/completions"])
def test_a_request_without_a_model_gets_the_first_model(path):
    assert InProcessMock().json("POST", path, {"messages": CHAT_BODY["messages"]})["model"] == "a"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", CHAT, {**CHAT_BODY, "model": "zzz"}, 404, "model_not_found"),
        ("GET", "/v1/models/zzz", None, 404, "model_not_found"),
        ("POST", CHAT, b"{", 400, "bad_request"),
        ("POST", "/v1/embeddings", {"input": []}, 400, "bad_request"),
        ("GET", "/nope", None, 404, "not_found"),
        ("GET", CHAT, None, 405, "method_not_allowed"),
        ("POST", "/mock/behave", {"nope": 1}, 400, "bad_request"),
        ("GET", "/mock/nope", None, 404, "not_found"),
    ],
)
def test_errors_have_the_shape_of_openai(method, path, body, status, code):
    mock = InProcessMock()
    error = mock.json(method, path, body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (mock.status[:3], error["code"]) == (str(status), code)


@pytest.mark.parametrize(
    ("behaviour", "model", "status", "kind"),
    [({}, "zzz", "404", "not_found_error"), ({"fail_status": 429}, "a", "429", "rate_limit_error")],
)
def test_errors_of_messages_have_the_shape_of_anthropic(behaviour, model, status, kind):
    mock = InProcessMock(**behaviour)
    error = mock.json("POST", "/v1/messages", {**CHAT_BODY, "model": model, "max_tokens": 9})
    assert set(error) == {"type", "error"}
    assert set(error["error"]) == {"type", "message"}
    assert (error["type"], error["error"]["type"], mock.status[:3]) == ("error", kind, status)


def test_a_body_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(request_reply, "MAX_BODY_BYTES", 10)
    mock = InProcessMock()
    assert mock.json("POST", "/echo", b"x" * 10)["body_length"] == 10
    mock.call("POST", "/echo", b"x" * 11)
    assert mock.status.startswith("413")


def test_echo_returns_the_request_as_it_came():
    echo = InProcessMock().json("PATCH", "/echo/a b", b"abc")
    assert (echo["method"], echo["path"], echo["target"]) == ("PATCH", "/echo/a b", "/as/it/came")
    assert echo["headers"] == {"x-one": "1, 2"}
    assert echo["body_length"] == 3


def test_head_has_the_length_but_no_body():
    mock = InProcessMock()
    assert mock.call("HEAD", "/v1/models") == b""
    assert int(mock.headers["Content-Length"]) > 50


def test_a_stream_waits_for_its_first_token_and_between_tokens():
    mock = InProcessMock(first_token_delay=5, token_delay=2)
    assert mock.call("POST", CHAT, STREAM_BODY).endswith(b"data: [DONE]\n\n")
    assert mock.connection.pauses == [5, 2, 2, 2]


def test_an_answer_that_is_not_streamed_takes_as_long():
    mock = InProcessMock(first_token_delay=5, token_delay=2)
    mock.call("POST", CHAT, CHAT_BODY)
    assert mock.connection.pauses == [11]


@pytest.mark.parametrize(("reset", "end"), [(False, "closed"), (True, "reset")])
def test_a_stream_is_cut_after_so_many_events(reset, end):
    mock = InProcessMock(cut_after=2, reset=reset)
    assert mock.call("POST", CHAT, STREAM_BODY).count(b"\n\n") == 2
    assert mock.connection.aborted == end
    assert mock.stats()["cut_by_mock"] == 1


def test_a_stream_is_cut_within_an_event():
    sent = InProcessMock(cut_after=1, cut_bytes=9).call("POST", CHAT, STREAM_BODY)
    assert sent.split(b"\n\n")[1] == b'data: {"i'


def test_a_body_is_cut_and_its_content_length_is_of_the_whole():
    mock = InProcessMock(cut_bytes=9)
    assert len(mock.call("POST", CHAT, CHAT_BODY)) == 9
    assert int(mock.headers["Content-Length"]) > 100
    assert mock.connection.aborted == "closed"


def test_probes_are_not_cut():
    mock = InProcessMock(cut_bytes=9, cut_after=0, drop=True, hang=True, fail_status=500)
    mock.json("GET", "/v1/models")
    assert mock.status == "200 OK"


def test_everywhere_includes_the_probes():
    mock = InProcessMock(fail_status=500, everywhere=True)
    mock.call("GET", "/health")
    assert mock.status.startswith("500")


def test_a_dropped_request_gets_no_byte():
    mock = InProcessMock(drop=True)
    mock.call("POST", CHAT, CHAT_BODY)
    assert (mock.status, mock.parts, mock.connection.aborted) == ("", [], "closed")


def test_a_hanging_request_ends_when_the_client_leaves():
    mock = InProcessMock(hang=True)
    mock.call("POST", CHAT, CHAT_BODY)
    assert (mock.status, mock.connection.pauses) == ("", [None])
    assert mock.stats()["cut_by_client"] == 1


def test_a_stream_hangs_after_so_many_events():
    mock = InProcessMock(hang_after=3)
    assert mock.call("POST", CHAT, STREAM_BODY).count(b"\n\n") == 3
    assert mock.connection.pauses[-1] is None


@pytest.mark.parametrize(("flags", "status"), [({"fail_status": 429}, "429"), ({"fail_rate": 1}, "500")])
def test_failures_have_the_configured_status(flags, status):
    mock = InProcessMock(**flags)
    assert mock.json("POST", CHAT, CHAT_BODY)["error"]["code"] == "mock_failure"
    assert mock.status.startswith(status)


def test_every_path_is_503_while_loading_as_of_llama_server():
    mock = InProcessMock(loading=30)
    for method, path in [("POST", CHAT), ("GET", "/health"), ("GET", "/v1/models"), ("GET", "/nope")]:
        error = mock.json(method, path)["error"]
        assert error == {"message": "Loading model", "type": "unavailable_error", "code": 503}
        assert mock.status.startswith("503")
    mock.now += 30
    mock.call("GET", "/health")
    assert mock.status == "200 OK"


def test_loading_begins_anew_only_when_it_is_changed_at_run_time():
    mock = InProcessMock(loading=30)
    mock.now += 30
    mock.call("POST", "/mock/behave", {"tokens": 3})
    mock.call("GET", "/health")
    assert mock.status == "200 OK"
    mock.call("POST", "/mock/behave", {"loading": 30})
    mock.call("GET", "/health")
    assert mock.status.startswith("503")


def test_a_changed_behaviour_applies_from_the_next_request_on():
    mock = InProcessMock()
    mock.call("POST", "/mock/behave", {"tokens": 3})
    assert mock.json("POST", CHAT, CHAT_BODY)["usage"]["completion_tokens"] == 3
    assert mock.json("GET", "/mock/behave")["tokens"] == 3
    mock.call("POST", "/mock/behave", {"tokens": None})
    assert mock.json("POST", CHAT, CHAT_BODY)["usage"]["completion_tokens"] == 4


def test_an_exit_can_be_planned_and_cancelled():
    mock = InProcessMock()
    mock.call("POST", "/mock/behave", {"exit_after": 3, "exit_code": 7})
    mock.call("POST", "/mock/behave", {"tokens": 3})
    mock.call("POST", "/mock/behave", {"exit_after": None})
    assert mock.exits == [(3, 7), (None, 7)]


def test_the_statistics_do_not_count_probes_as_requests():
    mock = InProcessMock()
    for method, path, body in [("GET", "/health", None), ("GET", "/v1/models", None), ("POST", CHAT, CHAT_BODY)]:
        mock.call(method, path, body)
    stats = mock.stats()
    assert (stats["requests"], stats["finished"], stats["open_requests"]) == (1, 3, 0)
    assert stats["by_path"] == {"/health": 1, "/v1/models": 1, CHAT: 1}
    assert stats["last_headers"] == {"x-one": "1, 2"}


def test_a_stream_is_open_until_its_client_leaves():
    mock = InProcessMock()
    raw = json.dumps(STREAM_BODY).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": CHAT,
        "QUERY_STRING": "",
        request_reply.CONNECTION_KEY: FakeConnection(),
    }
    stream = mock.app(environ | {"wsgi.input": io.BytesIO(raw)}, lambda *_: None)
    next(stream)
    assert mock.stats()["open_streams"] == 1
    stream.close()
    stats = mock.stats()
    assert (stats["open_streams"], stats["cut_by_client"], stats["finished"]) == (0, 1, 0)


BODIES = {
    "/v1/responses": {"model": "a", "input": "x y"},
    "/v1/messages": {**CHAT_BODY, "max_tokens": 9},
    "/v1/rerank": {"model": "a", "query": "x", "documents": ["x", {"text": "y"}]},
    "/v1/audio/speech": {"model": "a", "input": "x y"},
    "/v1/images/generations": {"model": "a", "prompt": "x y"},
}


@pytest.mark.parametrize("path", BODIES)
def test_each_path_refuses_an_unknown_model(path):
    mock = InProcessMock()
    assert mock.call("POST", path, BODIES[path])
    assert mock.status == "200 OK"
    mock.call("POST", path, {**BODIES[path], "model": "zzz"})
    assert mock.status.startswith("404")


@pytest.mark.parametrize(("path", "waits"), [("/v1/responses", 4), ("/v1/messages", 4)])
def test_streams_of_other_apis_wait_and_are_cut_like_chat(path, waits):
    stream_body = {**BODIES[path], "stream": True}
    mock = InProcessMock(first_token_delay=5, token_delay=2)
    whole = mock.call("POST", path, stream_body)
    assert mock.headers["Content-Type"] == "text/event-stream"
    assert mock.connection.pauses == [5] + [2] * (waits - 1)
    assert whole.startswith(InProcessMock(cut_after=3).call("POST", path, stream_body))


def test_speech_has_its_own_content_type():
    mock = InProcessMock()
    assert mock.call("POST", "/v1/audio/speech", BODIES["/v1/audio/speech"])[:4] == b"RIFF"
    assert mock.headers["Content-Type"] == "audio/wav"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_required_tool_is_called(choice):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"q": {"type": "string"}}}}}]
    answer = InProcessMock().json("POST", CHAT, {**CHAT_BODY, "tools": tools, "tool_choice": choice})
    function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"q": "x y"})


def test_an_answer_follows_the_required_schema_and_is_cut_only_by_the_client():
    schema = {
        "type": "object",
        "properties": {"colours": {"type": "array", "items": {"type": "string"}, "minItems": 99}},
    }
    fields = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    mock = InProcessMock()
    choice = mock.json("POST", CHAT, CHAT_BODY | fields)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert json.loads(choice["message"]["content"]) == {"colours": ["m heard: x y"] * 99}
    choice = mock.json("POST", CHAT, CHAT_BODY | fields | {"max_tokens": 3})["choices"][0]
    assert choice["finish_reason"] == "length"


def test_tokens_are_counted_as_in_the_answer_to_the_same_message():
    mock = InProcessMock()
    body = {"model": "a", "messages": [{"role": "user", "content": "x y" * 99}], "system": "be brief"}
    usage = mock.json("POST", "/v1/messages", body | {"max_tokens": 1})["usage"]
    assert mock.json("POST", "/v1/messages/count_tokens", body) == {"input_tokens": usage["input_tokens"]}
    refusal = mock.json("POST", "/v1/messages/count_tokens", body | {"model": "zzz"})
    assert (refusal["type"], refusal["error"]["type"]) == ("error", "not_found_error")


def test_metrics_count_generated_tokens():
    mock = InProcessMock(tokens=7)
    mock.call("POST", "/v1/chat/completions", {"model": "a", "messages": [{"role": "user", "content": "Hi"}]})
    mock.call("POST", "/v1/completions", {"model": "a", "prompt": "Hi", "stream": True, "max_tokens": 3})
    assert mock.call("GET", "/metrics") == METRICS % (10, 0)
    assert mock.stats()["requests"] == 2


def test_a_hanging_request_counts_as_running_and_makes_no_token():
    mock = InProcessMock(hang=True)
    pages = []
    mock.connection.pause = lambda _: pages.append(mock.call("GET", "/metrics"))
    mock.call("POST", "/v1/completions", {"model": "a", "prompt": "Hi", "max_tokens": 1})
    assert pages[0] == METRICS % (0, 1)
