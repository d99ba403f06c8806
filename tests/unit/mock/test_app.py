"""The mock's application, without a server."""

import io
import json

import pytest

from svc.mock import exchange
from tests.unit.mock.site import Site, Wire

CHAT = "/v1/chat/completions"
ASKED = {"model": "a", "messages": [{"role": "user", "content": "x y"}]}
STREAMED = {**ASKED, "stream": True}


def test_an_answer_names_the_instance():
    site = Site()
    assert site.json("POST", CHAT, ASKED)["choices"][0]["message"]["content"] == "m heard: x y"
    assert site.headers["x-mock-name"] == "m"
    assert site.status == "200 OK"


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
def test_models_are_listed(path):
    assert [model["id"] for model in Site().json("GET", path)["data"]] == ["a", "b/c"]


def test_a_mock_with_a_key_refuses_callers_without_it_under_v1():
    site = Site()
    site.app.api_key = "k"
    assert site.json("GET", "/v1/models")["error"]["code"] == "invalid_api_key"
    assert site.status[:3] == "401"
    site.json("GET", "/health")
    assert site.status[:3] == "200"


@pytest.mark.parametrize("path", [CHAT, "/chat/completions"])
def test_a_request_without_a_model_goes_to_the_first(path):
    assert Site().json("POST", path, {"messages": ASKED["messages"]})["model"] == "a"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", CHAT, {**ASKED, "model": "zzz"}, 404, "model_not_found"),
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
    site = Site()
    error = site.json(method, path, body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (site.status[:3], error["code"]) == (str(status), code)


@pytest.mark.parametrize(
    ("behaviour", "model", "status", "kind"),
    [({}, "zzz", "404", "not_found_error"), ({"fail_status": 429}, "a", "429", "rate_limit_error")],
)
def test_errors_of_messages_have_the_shape_of_anthropic(behaviour, model, status, kind):
    site = Site(**behaviour)
    told = site.json("POST", "/v1/messages", {**ASKED, "model": model, "max_tokens": 9})
    assert set(told) == {"type", "error"}
    assert set(told["error"]) == {"type", "message"}
    assert (told["type"], told["error"]["type"], site.status[:3]) == ("error", kind, status)


def test_a_body_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(exchange, "BODY_LIMIT", 10)
    site = Site()
    assert site.json("POST", "/echo", b"x" * 10)["body_length"] == 10
    site.call("POST", "/echo", b"x" * 11)
    assert site.status.startswith("413")


def test_echo_tells_the_request_as_it_came():
    told = Site().json("PATCH", "/echo/a b", b"abc")
    assert (told["method"], told["path"], told["target"]) == ("PATCH", "/echo/a b", "/as/it/came")
    assert told["headers"] == {"x-one": "1, 2"}
    assert told["body_length"] == 3


def test_head_has_the_length_but_no_body():
    site = Site()
    assert site.call("HEAD", "/v1/models") == b""
    assert int(site.headers["Content-Length"]) > 50


def test_a_stream_waits_for_its_first_token_and_between_tokens():
    site = Site(first_token_delay=5, token_delay=2)
    assert site.call("POST", CHAT, STREAMED).endswith(b"data: [DONE]\n\n")
    assert site.wire.pauses == [5, 2, 2, 2]


def test_an_answer_in_one_piece_takes_as_long():
    site = Site(first_token_delay=5, token_delay=2)
    site.call("POST", CHAT, ASKED)
    assert site.wire.pauses == [11]


@pytest.mark.parametrize(("reset", "how"), [(False, "closed"), (True, "reset")])
def test_a_stream_is_cut_after_so_many_events(reset, how):
    site = Site(cut_after=2, reset=reset)
    assert site.call("POST", CHAT, STREAMED).count(b"\n\n") == 2
    assert site.wire.aborted == how
    assert site.stats()["cut_by_mock"] == 1


def test_a_stream_is_cut_within_an_event():
    sent = Site(cut_after=1, cut_bytes=9).call("POST", CHAT, STREAMED)
    assert sent.split(b"\n\n")[1] == b'data: {"i'


def test_a_body_is_cut_and_its_head_told_the_whole_length():
    site = Site(cut_bytes=9)
    assert len(site.call("POST", CHAT, ASKED)) == 9
    assert int(site.headers["Content-Length"]) > 100
    assert site.wire.aborted == "closed"


def test_models_are_not_cut():
    site = Site(cut_bytes=9, cut_after=0, drop=True, hang=True, fail_status=500)
    site.json("GET", "/v1/models")
    assert site.status == "200 OK"


def test_everywhere_means_the_probes_too():
    site = Site(fail_status=500, everywhere=True)
    site.call("GET", "/health")
    assert site.status.startswith("500")


def test_a_dropped_request_gets_no_byte():
    site = Site(drop=True)
    site.call("POST", CHAT, ASKED)
    assert (site.status, site.parts, site.wire.aborted) == ("", [], "closed")


def test_a_hanging_request_ends_when_the_client_leaves():
    site = Site(hang=True)
    site.call("POST", CHAT, ASKED)
    assert (site.status, site.wire.pauses) == ("", [None])
    assert site.stats()["cut_by_client"] == 1


def test_a_stream_that_hangs_has_begun():
    site = Site(hang_after=3)
    assert site.call("POST", CHAT, STREAMED).count(b"\n\n") == 3
    assert site.wire.pauses[-1] is None


@pytest.mark.parametrize(("flags", "status"), [({"fail_status": 429}, "429"), ({"fail_rate": 1}, "500")])
def test_failures_have_the_status_asked_for(flags, status):
    site = Site(**flags)
    assert site.json("POST", CHAT, ASKED)["error"]["code"] == "mock_failure"
    assert site.status.startswith(status)


def test_while_loading_every_path_says_so_as_llama_server_does():
    site = Site(loading=30)
    for method, path in [("POST", CHAT), ("GET", "/health"), ("GET", "/v1/models"), ("GET", "/nope")]:
        error = site.json(method, path)["error"]
        assert error == {"message": "Loading model", "type": "unavailable_error", "code": 503}
        assert site.status.startswith("503")
    site.now += 30
    site.call("GET", "/health")
    assert site.status == "200 OK"


def test_loading_begins_anew_when_told_at_run_time_and_only_then():
    site = Site(loading=30)
    site.now += 30
    site.call("POST", "/mock/behave", {"tokens": 3})
    site.call("GET", "/health")
    assert site.status == "200 OK"
    site.call("POST", "/mock/behave", {"loading": 30})
    site.call("GET", "/health")
    assert site.status.startswith("503")


def test_behaviour_changes_from_the_next_request_on():
    site = Site()
    site.call("POST", "/mock/behave", {"tokens": 3})
    assert site.json("POST", CHAT, ASKED)["usage"]["completion_tokens"] == 3
    assert site.json("GET", "/mock/behave")["tokens"] == 3
    site.call("POST", "/mock/behave", {"tokens": None})
    assert site.json("POST", CHAT, ASKED)["usage"]["completion_tokens"] == 4


def test_an_exit_is_planned_and_taken_back():
    site = Site()
    site.call("POST", "/mock/behave", {"exit_after": 3, "exit_code": 7})
    site.call("POST", "/mock/behave", {"tokens": 3})
    site.call("POST", "/mock/behave", {"exit_after": None})
    assert site.exits == [(3, 7), (None, 7)]


def test_stats_leave_the_probes_out_of_the_requests():
    site = Site()
    for method, path, body in [("GET", "/health", None), ("GET", "/v1/models", None), ("POST", CHAT, ASKED)]:
        site.call(method, path, body)
    stats = site.stats()
    assert (stats["requests"], stats["finished"], stats["open_requests"]) == (1, 3, 0)
    assert stats["by_path"] == {"/health": 1, "/v1/models": 1, CHAT: 1}
    assert stats["last_headers"] == {"x-one": "1, 2"}


def test_a_stream_is_open_until_its_reader_gives_up():
    site = Site()
    raw = json.dumps(STREAMED).encode()
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": CHAT, "QUERY_STRING": "", exchange.WIRE: Wire()}
    stream = site.app(environ | {"wsgi.input": io.BytesIO(raw)}, lambda *_: None)
    next(stream)
    assert site.stats()["open_streams"] == 1
    stream.close()
    stats = site.stats()
    assert (stats["open_streams"], stats["cut_by_client"], stats["finished"]) == (0, 1, 0)


QUESTIONS = {
    "/v1/responses": {"model": "a", "input": "x y"},
    "/v1/messages": {**ASKED, "max_tokens": 9},
    "/v1/rerank": {"model": "a", "query": "x", "documents": ["x", {"text": "y"}]},
    "/v1/audio/speech": {"model": "a", "input": "x y"},
    "/v1/images/generations": {"model": "a", "prompt": "x y"},
}


@pytest.mark.parametrize("path", QUESTIONS)
def test_each_path_answers_for_its_models_only(path):
    site = Site()
    assert site.call("POST", path, QUESTIONS[path])
    assert site.status == "200 OK"
    site.call("POST", path, {**QUESTIONS[path], "model": "zzz"})
    assert site.status.startswith("404")


@pytest.mark.parametrize(("path", "waits"), [("/v1/responses", 4), ("/v1/messages", 4)])
def test_streams_of_other_dialects_wait_and_are_cut_as_chats_are(path, waits):
    asked = {**QUESTIONS[path], "stream": True}
    site = Site(first_token_delay=5, token_delay=2)
    whole = site.call("POST", path, asked)
    assert site.headers["Content-Type"] == "text/event-stream"
    assert site.wire.pauses == [5] + [2] * (waits - 1)
    assert whole.startswith(Site(cut_after=3).call("POST", path, asked))


def test_speech_is_told_to_be_what_it_is():
    site = Site()
    assert site.call("POST", "/v1/audio/speech", QUESTIONS["/v1/audio/speech"])[:4] == b"RIFF"
    assert site.headers["Content-Type"] == "audio/wav"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_forced_tool_is_called(choice):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"q": {"type": "string"}}}}}]
    answer = Site().json("POST", CHAT, {**ASKED, "tools": tools, "tool_choice": choice})
    function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"q": "x y"})


def test_it_counts_its_tokens_as_engines_do():
    site = Site(tokens=7)
    site.call("POST", "/v1/chat/completions", {"model": "a", "messages": [{"role": "user", "content": "Hi"}]})
    site.call("POST", "/v1/completions", {"model": "a", "prompt": "Hi", "stream": True, "max_tokens": 3})
    assert site.call("GET", "/metrics") == b"mock:generation_tokens_total 10\nmock:num_requests_running 0\n"
    assert site.stats()["requests"] == 2


def test_a_request_that_hangs_is_being_served_and_makes_no_token():
    site = Site(hang=True)
    pages = []
    site.wire.pause = lambda _: pages.append(site.call("GET", "/metrics"))
    site.call("POST", "/v1/completions", {"model": "a", "prompt": "Hi", "max_tokens": 1})
    assert pages[0] == b"mock:generation_tokens_total 0\nmock:num_requests_running 1\n"
