"""Requests about objects: to which instance they go, and what the answers show."""

import json

import pytest

from svc.router.balance.target import Target
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.routing_fields import read_routing_request
from svc.router.proxy.stored_objects import MAX_READ_PIECES, StoredObject
from svc.router.state import RouterState
from tests.unit.router.examples import request, state, target

JSON = (b"Content-Type", b"application/json")


def exchange(
    router: RouterState, method: str, path: str, body: object = None, status: int = 200, stream: bool = False
) -> Exchange:
    data = b"" if body is None else json.dumps(body).encode()
    made = Exchange(router, request(data, JSON, method=method.encode(), uri=path.encode()), "")
    made.instance, made.status = "a", status
    made.stream = ResponseStream() if stream else None
    return made


def stored(made: Exchange) -> StoredObject:
    return StoredObject(made, read_routing_request(made))


def owner(router: RouterState, method: str, path: str, body: object = None) -> str | None:
    found = stored(exchange(router, method, path, body)).owner
    return found and found.name


def router_with(*targets: Target, **owners: str) -> RouterState:
    """Return a router that knows the owner of each of these objects."""
    made = state(*(targets or (target("a", "m"), target("b", "m"))))
    for object_id, name in owners.items():
        made.objects.add(object_id, name)
    return made


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/responses/resp_1", None),
        ("GET", "/responses/resp_1/input_items", None),
        ("DELETE", "/v1/files/resp_1", None),
        ("POST", "/v1/batches/resp_1/cancel", {}),
        ("POST", "/v1/responses", {"model": "m", "previous_response_id": "resp_1"}),
        ("POST", "/v1/responses/compact", {"model": "m", "previous_response_id": "resp_1"}),
        ("POST", "/v1/responses", {"model": "m", "conversation": {"id": "resp_1"}}),
        ("POST", "/v1/batches", {"input_file_id": "resp_1"}),
    ],
)
def test_a_request_about_an_object_goes_to_its_owner(method: str, path: str, body: object):
    assert owner(router_with(resp_1="b"), method, path, body) == "b"
    assert owner(router_with(resp_2="b"), method, path, body) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"drained": True}, "b"),
        ({"healthy": False}, "b"),
        ({"status": "stopping"}, None),
        ({"status": "starting"}, None),
    ],
)
def test_an_owner_gets_the_request_as_long_as_it_runs(change: dict, expected: str | None):
    router = router_with(target("a", "m"), target("b", "m", **change), resp_1="b")
    assert owner(router, "GET", "/v1/responses/resp_1") == expected


def test_an_ejected_owner_gets_the_request():
    router = router_with(resp_1="b")
    for _ in range(9):
        router.balancer.begin_attempt(router.balancer.table.targets[1])
        router.balancer.end_attempt(router.balancer.table.targets[1], 0.1, True, "it failed")
    assert router.balancer.table.candidates == {"a"}
    assert owner(router, "GET", "/v1/responses/resp_1") == "b"


def test_an_owner_without_the_model_does_not_get_the_request():
    router = router_with(target("a", "m"), target("b", "n"), resp_1="b")
    assert owner(router, "POST", "/v1/responses", {"model": "m", "previous_response_id": "resp_1"}) is None
    assert owner(router, "POST", "/v1/responses", {"previous_response_id": "resp_1"}) == "b"


def answered(made: Exchange, *parts: bytes) -> RouterState:
    stored(made).record_response(made)
    for part in parts:
        if made.stream is not None:
            made.stream.add(part, lambda: 1.0)
        elif made.id_reader is not None:
            made.id_reader.feed(part)
    return made.state


def knows(router: RouterState, object_id: str = "resp_1") -> bool:
    return router.objects.find(object_id, router.balancer.table.targets) is not None


BODY = b'{"object": "response", "id": "resp_1", "output": []}'
EVENT = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'


@pytest.mark.parametrize(
    ("path", "body", "status", "learned"),
    [
        ("/v1/responses", {"model": "m", "input": "x"}, 200, True),
        ("/v1/responses", {"model": "m", "store": False}, 200, False),
        ("/v1/responses", {"model": "m", "store": False, "background": True}, 200, True),
        ("/v1/responses", {"model": "m"}, 404, False),
        ("/v1/batches", {"input_file_id": "f"}, 201, True),
        ("/v1/responses/compact", {"model": "m"}, 200, False),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_learned_from_an_answer(path: str, body: object, status: int, learned: bool, size: int):
    parts = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    router = answered(exchange(router_with(), "POST", path, body, status), *parts)
    assert knows(router) == learned
    events = answered(exchange(router_with(), "POST", path, body, status, stream=True), b": ping\n\n", EVENT)
    assert knows(events) == learned


def test_a_stream_is_not_read_after_its_first_token():
    token = b'data: {"type":"response.output_text.delta","delta":"x"}\n\n'
    router = answered(exchange(router_with(), "POST", "/v1/responses", {"model": "m"}, stream=True), token, EVENT)
    assert not knows(router)


def test_no_more_than_the_beginning_of_an_answer_is_read():
    long = b'{"output": [' + b"1," * 20_000
    assert not knows(answered(exchange(router_with(), "POST", "/v1/responses", {"model": "m"}), long, BODY))


def test_an_unknown_object_is_learned_from_the_instance_that_has_it():
    assert knows(answered(exchange(router_with(), "GET", "/v1/responses/resp_1")))
    assert not knows(answered(exchange(router_with(), "GET", "/v1/responses/resp_1", status=404)))


def test_a_deleted_object_is_forgotten():
    assert not knows(answered(exchange(router_with(resp_1="b"), "DELETE", "/v1/responses/resp_1")))
    assert knows(answered(exchange(router_with(resp_1="b"), "DELETE", "/v1/responses/resp_1", status=502)))


def test_the_objects_of_an_instance_are_forgotten_with_it():
    router = router_with(resp_1="b", resp_2="a")
    router.replace_targets([target("a", "m"), target("b", "m", status="starting")])
    assert knows(router)  # it has not started anew yet
    router.replace_targets([target("a", "m"), target("b", "m")])
    assert not knows(router)
    assert knows(router, "resp_2")


@pytest.mark.parametrize("size", [1, 1000])
def test_the_files_that_a_batch_has_made_are_learned_from_answers_about_it(size: int):
    body = b'{"id": "b-1", "errors": {}, "output_file_id": "f-2", "error_file_id": "f-3"}'
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    router = answered(exchange(router_with(**{"b-1": "a"}), "GET", "/v1/batches/b-1"), *parts)
    assert (knows(router, "f-2"), knows(router, "f-3")) == (True, True)
    assert not knows(answered(exchange(router_with(), "GET", "/v1/batches/b-1", status=404), *parts), "f-2")


def test_an_answer_in_many_small_pieces_is_read_only_at_its_beginning():
    opening = b'{"a": "%b", ' % (b"x" * MAX_READ_PIECES)
    parts = [bytes([byte]) for byte in opening] + [BODY[1:]]
    assert not knows(answered(exchange(router_with(), "POST", "/v1/responses", {"model": "m"}), *parts))
    assert knows(answered(exchange(router_with(), "POST", "/v1/responses", {"model": "m"}), opening, BODY[1:]))
