"""`POST /route`: who may ask, what is answered, and that nothing is counted."""

import datetime
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from svc.base.errors import BadRequest, Forbidden, SvcError, Unauthorized
from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from svc.router.proxy.api_keys import ApiKeys
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.route_query import answer_route_query
from svc.router.state import RouterState
from tests.unit.router.examples import request, state, target

CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
JSON = (b"Content-Type", b"application/json")


def exchange(
    router: RouterState, body: object = None, *headers: tuple[bytes, bytes], key: str = "", **query: str
) -> Exchange:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    uri = f"/route?{urlencode(query)}" if query else "/route"
    special = {"content_length": str(len(data)).encode(), "x_api_key": key.encode()}
    client_request = request(data, JSON, *headers, uri=uri.encode(), **special)
    client_request.head.rules = router.head_cache.rules
    return Exchange(router, client_request, "")


def ask(router: RouterState, body: object = None, *headers: tuple[bytes, bytes], **query: str) -> dict[str, Any]:
    made = exchange(router, body, *headers, **query)
    answer = json.loads(answer_route_query(made, b"127.0.0.1"))
    assert made.closed
    assert not router.statistics.models
    assert router.statistics.take() is None
    return answer


def test_the_model_the_session_and_the_policy():
    router = state(target("a", "m"), target("b", "n"), aliases=(("gpt", "m"),), policies=(("m", "session"),))
    answer = ask(router, {"model": "gpt"}, (b"X-Session-ID", b"s1"))
    assert (answer["requested_model"], answer["model"], answer["policy"]) == ("gpt", "m", "session")
    assert (answer["session"], answer["session_source"]) == ("s1", "the header x-session-id")
    assert (answer["instance"], answer["error"]) == ("a", None)
    assert [candidate["name"] for candidate in answer["candidates"]] == ["a"]


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ({}, {"model": "x"}, 503, "service_unavailable"),
        ({"path": "/v1/messages"}, {"model": "x"}, 404, "model_not_found"),
        ({}, b"{", 400, "bad_request"),
        ({"path": "/sleep"}, None, 404, "path_not_relayed"),
    ],
)
def test_the_error_that_the_request_would_get(query: dict, body: object, status: int, code: str):
    answer = ask(state(target("a", "m")), body, **query)
    assert (answer["instance"], answer["error"]["status"], answer["error"]["code"]) == (None, status, code)


def test_a_request_about_a_stored_object():
    router = state(target("a", "m"), target("b", "m", drained=True))
    router.objects.add("resp_1", "b")
    answer = ask(router, method="get", path="/v1/responses/resp_1")
    assert (answer["method"], answer["object_id"], answer["instance"]) == ("GET", "resp_1", "b")
    assert answer["why"] == ["resp_1 is at b, and no other instance has it"]
    answer = ask(router, {"model": "m", "previous_response_id": "resp_1"}, path="/v1/responses")
    assert (answer["policy"], answer["instance"]) == ("", "b")


def test_an_object_without_an_owner_that_can_answer_is_named():
    router = state(target("a", "m"), target("b", "n"))
    answer = ask(router, method="GET", path="/v1/responses/resp_2")
    assert (answer["object_id"], answer["instance"]) == ("", "a")
    assert answer["why"][0] == "no instance is known to have resp_2: any instance"
    router.objects.add("resp_1", "b")
    answer = ask(router, {"model": "m", "previous_response_id": "resp_1"}, path="/v1/responses")
    assert answer["instance"] == "a"
    assert answer["why"][0].startswith("the instance that has resp_1 does not run, or does not have the model")
    assert ask(router, {"model": "m", "input": "x"}, path="/v1/responses")["why"] == answer["why"][1:]


def test_a_request_that_the_router_answers_itself():
    answer = ask(state(target("a", "m")), method="GET", path="/v1/models")
    assert (answer["instance"], answer["why"]) == (None, ["the router answers this request itself"])


def test_a_request_that_killed_instances():
    router = state(target("a", "m"))
    router.poison.add(b'{"model": "m"}', router.now)
    assert ask(router, b'{"model": "m"}')["error"]["code"] == "request_kills_instances"


@pytest.mark.parametrize("query", [{"path": "v1"}, {"path": "/ü"}, {"path": "/a b"}, {"method": "G T"}, {"other": "1"}])
def test_a_query_that_cannot_be_read(query: dict):
    with pytest.raises(BadRequest):
        ask(state(target("a", "m")), **query)


def test_only_an_operators_key_may_ask_and_it_counts_for_no_limit(tmp_path: Path):
    file = tmp_path / "keys.toml"
    entries = {
        "client": KeyEntry(router_keys.digest("client"), CREATED),
        "operator": KeyEntry(router_keys.digest("operator"), CREATED, concurrency=1, operator=True),
    }
    file.write_text(router_keys.render(entries))
    router = state(target("a", "m"))
    router.keys = ApiKeys(file)
    with pytest.raises(Unauthorized):
        ask(router, {"model": "m"})
    router.keys.load()
    with pytest.raises(Forbidden, match="only an operator's key"):
        ask(router, {"model": "m"}, key="client")
    for _ in range(3):
        assert ask(router, {"model": "m"}, key="operator")["instance"] == "a"


def test_a_failed_query_holds_no_memory():
    router = state(target("a", "m"))
    made = exchange(router, b"x" * 100_000, path="v1")
    made.allocate(100_000, 1e9, lambda waiter: None)
    assert router.buffered_bytes() == 100_000
    with pytest.raises(SvcError):
        answer_route_query(made, b"127.0.0.1")
    assert router.buffered_bytes() == 0
