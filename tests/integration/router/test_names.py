"""Aliases, fallbacks, policies of models, and what passes unchanged."""

import json
from collections.abc import Iterator

import pytest
import requests

from tests.integration.router.client import get, post
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static

ODD = b'{ "n" : 1.0,\n"model":"%b" ,"text":"\\u00e9\xc3\xa9", "big":12345678901234567890, "n":[1 , 2]}'


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, dict[str, Instance]]]:
    """`one` and `two` serve `big`, `one` serves `small` and `pair`, `two` serves `pair`."""
    instances = {"one": Instance(), "two": Instance()}
    models = {"one": ("big", "small", "pair"), "two": ("big", "pair")}
    services = [service(name, instance.port, *models[name]) for name, instance in instances.items()]
    path = static(tmp_path_factory.mktemp("names") / "static.json", services)
    flags = ["--static-services", path, "--policy", "round_robin", "--policies", "pair=session"]
    flags += ["--aliases", "gpt-4o=big", "--aliases", "mini=small", "--aliases", "gone=nobody's"]
    flags += ["--fallbacks", "away=further", "--fallbacks", "further=small", "--fallbacks", "nobody's=big"]
    flags += ["--fallbacks", "small=big", "--fallbacks", "round=about", "--fallbacks", "about=round"]
    flags += ["--allow-paths", "*"]
    with router(*flags) as running:
        yield running, instances
        assert "Traceback" not in running.output()
    for instance in instances.values():
        instance.close()


@pytest.fixture
def own(pool: tuple[Router, dict[str, Instance]]) -> Router:
    for instance in pool[1].values():
        instance.play()
    return pool[0]


@pytest.fixture
def instances(pool: tuple[Router, dict[str, Instance]]) -> dict[str, Instance]:
    return pool[1]


def received(instances: dict[str, Instance]) -> ReceivedRequest:
    (only,) = [received for instance in instances.values() for received in instance.received]
    return only


def test_the_body_passes_byte_for_byte_without_an_alias(own: Router, instances: dict[str, Instance]):
    with own.client() as client:
        assert client.send(post(ODD % b"small")).answer().status == 200
    assert received(instances).body == ODD % b"small"


def test_an_alias_is_rewritten_and_nothing_else_of_the_body(own: Router, instances: dict[str, Instance]):
    with own.client() as client:
        assert client.send(post(ODD % b"mini")).answer().status == 200
    body = received(instances).body
    assert json.loads(body) == json.loads(ODD % b"small")
    for value in (b'"\\u00e9\xc3\xa9"', b"12345678901234567890", b"[1 , 2]"):
        assert value in body


def test_invalid_utf8_passes_beside_a_rewritten_model(own: Router, instances: dict[str, Instance]):
    with own.client() as client:
        assert client.send(post(b'{"model": "mini", "\xff": 1}')).answer().status == 200
    assert received(instances).body == b'{"model": "small", "\xff": 1}'


@pytest.mark.parametrize(
    ("requested", "got"),
    [
        ("away", "small"),  # by way of `further`
        ("gone", "big"),  # an alias of what nobody has, which has a fallback
        ("small", "small"),  # served: no fallback
    ],
)
def test_a_fallback_answers_for_a_model_that_no_instance_has(
    own: Router, instances: dict[str, Instance], requested: str, got: str
):
    assert requests.post(own.url + "/v1/chat/completions", json={"model": requested}, timeout=10).text == "ok"
    assert json.loads(received(instances).body) == {"model": got}


@pytest.mark.parametrize("requested", ["round", "unheard of"])
def test_the_error_names_the_model_where_no_fallback_is_served(own: Router, requested: str):
    response = requests.post(own.url + "/v1/chat/completions", json={"model": requested}, timeout=10)
    assert response.status_code == 503
    assert response.json()["error"]["message"] == f"No healthy services available for model '{requested}'"


def form(model: bytes, audio: bytes = b"RIFF\r\n--not the end\x00\xff") -> tuple[bytes, bytes]:
    """Return a multipart body, and its Content-Type header."""
    body = (
        b'--b0\r\nContent-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: a/b\r\n\r\n%b\r\n'
        b'--b0\r\nContent-Disposition: form-data; name="model_hint"\r\n\r\nmini\r\n'
        b'--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
        b'--b0\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nmini\r\n--b0--\r\n'
    ) % (audio, model)
    return body, b"Content-Type: multipart/form-data; boundary=b0"


def test_the_model_of_a_form_is_rewritten_and_nothing_else(own: Router, instances: dict[str, Instance]):
    path = b"/v1/audio/transcriptions"
    with own.client() as client:
        for model, passed in ((b"small", b"small"), (b"mini", b"small")):
            for instance in instances.values():
                instance.play()
            body, kind = form(model)
            assert client.send(post(body, kind, path=path)).answer().status == 200
            assert received(instances).body == form(passed)[0]
        body, kind = form(b"nobody")
        assert client.send(post(body, kind, path=path)).answer().status == 503


def test_a_file_in_a_form_that_looks_like_a_model_is_unchanged(own: Router, instances: dict[str, Instance]):
    body, kind = form(b"mini", audio=b"mini")
    with own.client() as client:
        assert client.send(post(body, kind, path=b"/v1/audio/transcriptions")).answer().status == 200
    assert received(instances).body == form(b"small", audio=b"mini")[0]


def test_aliases_of_served_models_are_listed(own: Router):
    listed = [model["id"] for model in own.get("/v1/models").json()["data"]]
    assert sorted(listed) == ["big", "gpt-4o", "mini", "pair", "small"]
    assert own.get("/v1/models/gpt-4o").json()["id"] == "gpt-4o"
    assert own.get("/v1/models/gone").status_code == 404


def test_a_model_may_have_its_own_policy(own: Router, instances: dict[str, Instance]):
    """`pair` is balanced by session, all other models in turn."""
    with own.client() as client:
        for model, spread in ((b"big", [4, 4]), (b"gpt-4o", [4, 4]), (b"pair", [0, 8])):
            for instance in instances.values():
                instance.play()
            for _ in range(8):
                client.send(post({"model": model.decode()}, b"X-Session-ID: me")).answer()
            assert sorted(len(instance.received) for instance in instances.values()) == spread, model


# What passes through, and what is told on request.


def test_the_instance_is_named_in_a_header_on_request(own: Router, instances: dict[str, Instance]):
    with own.client() as client:
        answer = client.send(post({"model": "small"}, b"X-Served-By: ?")).answer()
        assert answer.header(b"x-served-by") == b"one"
        assert client.send(post({"model": "small"})).answer().header(b"x-served-by") is None
    assert all(h.header(b"x-served-by") is None for h in instances["one"].received)  # the question is the router's


def test_the_ids_of_a_request_pass_both_ways(own: Router, instances: dict[str, Instance]):
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with own.client() as client:
        told = (b"x-request-id: mine", b"traceparent: " + trace, b"tracestate: a=1")
        answer = client.send(post({"model": "small"}, *told)).answer()
        assert answer.header(b"x-request-id") == b"mine"
        first = received(instances)
        assert (first.header(b"x-request-id"), first.header(b"traceparent")) == (b"mine", trace)
        assert first.header(b"tracestate") == b"a=1"
        made = client.send(post({"model": "small"})).answer().header(b"x-request-id")
        assert made
        assert instances["one"].received[-1].header(b"x-request-id") == made
        answer = client.send(post({"model": "nobody"}, b"x-request-id: lost")).answer()
        assert (answer.status, answer.header(b"x-request-id")) == (503, b"lost")


def test_paths_and_queries_pass_unchanged(own: Router, instances: dict[str, Instance]):
    def echo(peer: Peer, received: ReceivedRequest) -> None:
        line = received.line
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line))

    for instance in instances.values():
        instance.play(echo)
    with own.client() as client:
        for target in (b"/v1/x%2Fy//z?a=%20&b", b"/v1/models%2Fbig", b"/health/", b"/v2/models"):
            assert client.send(get(target)).answer().body == b"GET %b HTTP/1.1" % target
