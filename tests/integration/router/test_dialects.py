"""Every path of OpenAI's API is relayed by its model, and errors are told in the caller's own dialect."""

import json
from typing import Any

import pytest
import requests

from tests.client_libraries import anthropic, openai
from tests.integration.router.client import Answer, post
from tests.integration.router.event_streams import CHUNKED, chunk
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.listed import at, listed
from tests.integration.router.routers import Router

PATHS = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/rerank",
    "/v1/moderations",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/v1/messages",
    "/v1/messages/count_tokens",
]
FORMS = ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_relayed_by_the_model_of_its_json(relay: Router, a: Instance, b: Instance, c: Instance, path: str):
    for model in ("a", "b", "c", "b"):
        assert requests.post(relay.url + path, json={"model": model}, timeout=10).text == "ok"
    assert [len(instance.received) for instance in (a, b, c)] == [1, 2, 1]
    assert b.received[0].line == b"POST %b HTTP/1.1" % path.encode()


@pytest.mark.parametrize("path", FORMS)
def test_a_form_is_relayed_by_its_field(relay: Router, a: Instance, b: Instance, path: str):
    files = {"file": ("speech.wav", b"RIFF\x00\r\n--\xff" * 1000, "audio/wav")}
    for model in ("b", "b", "a"):
        assert requests.post(relay.url + path, data={"model": model}, files=files, timeout=10).text == "ok"
    assert [len(instance.received) for instance in (a, b)] == [1, 2]
    assert files["file"][1] in b.received[0].body
    assert requests.post(relay.url + path, data={"model": "nobody"}, files=files, timeout=10).status_code == 503


def told(relay: Router, path: bytes, body: dict[str, Any], *headers: bytes) -> tuple[int, Any]:
    with relay.client() as client:
        answer = client.send(post(body, *headers, path=path)).answer()
        assert answer.header(b"content-type") == b"application/json"
        return answer.status, json.loads(answer.body)


def test_errors_of_the_routers_own(relay: Router):
    code, error = told(relay, b"/v1/chat/completions", {"model": "dead"})
    assert (code, error.keys(), error["error"]["type"]) == (502, {"error"}, "api_error")
    assert error["error"].keys() == {"message", "type", "param", "code"}
    code, error = told(relay, b"/v1/messages?beta=true", {"model": "dead"})
    assert (code, error.keys(), error["type"]) == (502, {"type", "error"}, "error")
    assert error["error"].keys() == {"type", "message"}
    assert error["error"]["type"] == "api_error"


def refused(relay: Router, path: bytes, model: str = "nobody") -> Answer:
    with relay.client() as client:
        return client.send(post({"model": model}, path=path)).answer()


def test_an_unknown_model_is_503_where_scripts_expect_it_and_is_not_worth_a_retry(relay: Router):
    for path in (b"/v1/chat/completions", b"/chat/completions", b"/v1/embeddings"):
        answer = refused(relay, path)
        assert (answer.status, answer.header(b"x-should-retry"), answer.header(b"retry-after")) == (503, b"false", None)
        assert answer.error()["message"] == "No healthy services available for model 'nobody'"


def test_an_unknown_model_is_404_in_the_format_of_anthropic_and_responses(relay: Router):
    message = "The model 'nobody' does not exist; there are a, ab, abc, b, c, dead, dead-a, dead-ab"
    for path in (b"/v1/messages", b"/v1/messages/count_tokens?beta=true"):
        answer = refused(relay, path)
        assert answer.status == 404
        expected = {"type": "error", "error": {"type": "not_found_error", "message": message}}
        assert json.loads(answer.body) == expected
    answer = refused(relay, b"/v1/responses")
    assert (answer.status, answer.header(b"retry-after")) == (404, None)
    assert answer.error() == {
        "message": message,
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_a_known_model_that_is_down_is_503_with_retry_after_on_every_path(a: Instance, b: Instance):
    with listed("--unknown-model-status", "404") as site:
        site.tell(at(a, "a", "up"), at(b, "b", "down", status="stopped"))
        for path in (b"/v1/chat/completions", b"/v1/messages", b"/v1/responses"):
            answer = refused(site.router, path, "down")
            assert (answer.status, answer.header(b"retry-after"), answer.header(b"x-should-retry")) == (503, b"5", None)
        assert refused(site.router, b"/v1/chat/completions").error()["code"] == "model_not_found"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(relay: Router):
    for path, kind in ((b"/v1/messages", "request_too_large"), (b"/v1/responses", "invalid_request_error")):
        with relay.client() as client:
            client.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" % path)
            answer = client.answer()
            assert (answer.status, json.loads(answer.body)["error"]["type"]) == (413, kind)


def test_an_instances_own_errors_pass_as_they_are(relay: Router, a: Instance):
    body = b'{"detail": "model is on fire"}'
    a.play(lambda peer, received: peer.send(b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
    answer = requests.post(relay.url + "/v1/messages", json={"model": "a"}, timeout=10)
    assert (answer.status_code, answer.content) == (422, body)


def breaks(peer: Peer, received: ReceivedRequest) -> bool:
    peer.send(CHUNKED + chunk(b'event: ping\ndata: {"type": "ping"}\n\n'))
    return False


def test_a_broken_stream_ends_with_an_error_in_the_clients_format(relay: Router, a: Instance):
    a.play(breaks)
    with relay.client() as client:
        client.send(post({"model": "a"}, path=b"/v1/messages")).head()
        *_, last = iter(client.chunk, b"")
        name, data = last.rstrip().split(b"\n")
        assert name == b"event: error"
        assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"
        client.send(post({"model": "a"}, path=b"/v1/chat/completions")).head()
        *_, last = iter(client.chunk, b"")
        assert last.endswith(b"data: [DONE]\n\n")


# As the official clients understand it.


def test_openais_client_raises_its_own_errors(relay: Router, a: Instance):
    messages: Any = [{"role": "user", "content": "hi"}]
    with openai.OpenAI(base_url=relay.url + "/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="No healthy services available for model 'nobody'"):
            client.chat.completions.create(model="nobody", messages=messages)
        a.play(breaks)
        with pytest.raises(openai.APIError, match="broke off"):
            list(client.chat.completions.create(model="a", messages=messages, stream=True))


def test_openais_client_does_not_repeat_a_request_for_an_unknown_model(relay: Router):
    """Its default is two retries, with a pause before each."""
    with openai.OpenAI(base_url=relay.url + "/v1", api_key="x") as client:
        before = requests_of_unknown_models(relay)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hi"}])
        assert requests_of_unknown_models(relay) == before + 1
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.responses.create(model="nobody", input="hi")


def requests_of_unknown_models(relay: Router) -> int:
    lines = relay.get("/metrics").text.splitlines()
    counts = [line.split()[1] for line in lines if 'svc_router_requests_total{model="unknown"' in line]
    return sum(int(float(count)) for count in counts)


def test_anthropics_client_raises_its_own_errors(relay: Router, a: Instance):
    asked: Any = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    with anthropic.Anthropic(base_url=relay.url, api_key="x", max_retries=0) as client:
        with pytest.raises(anthropic.NotFoundError, match="'nobody' does not exist; there are a, ab, abc") as caught:
            client.messages.create(model="nobody", **asked)
        assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index, call-overload]
        a.play(breaks)
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            list(client.messages.create(model="a", stream=True, **asked))
