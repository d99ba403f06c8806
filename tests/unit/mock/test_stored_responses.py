"""The responses that the mock keeps: asked for, continued, cancelled and deleted by their id."""

import pytest

from svc.mock.stored_responses import MAX_STORED, StoredResponses
from tests.unit.mock.in_process import InProcessMock

REQUEST = {"model": "a", "input": "x y"}


def made(mock: InProcessMock, **fields: object) -> str:
    return mock.json("POST", "/v1/responses", {**REQUEST, **fields})["id"]


def status(mock: InProcessMock, method: str, path: str, body: object = None) -> int:
    mock.call(method, path, body)
    return int(mock.status[:3])


def test_a_response_is_kept_as_it_was_answered():
    mock = InProcessMock()
    answer = mock.json("POST", "/v1/responses", REQUEST)
    assert mock.json("GET", f"/v1/responses/{answer['id']}") == answer
    items = mock.json("GET", f"/v1/responses/{answer['id']}/input_items")["data"]
    assert [(item["role"], item["content"][0]["text"]) for item in items] == [("user", "x y")]


def test_a_streamed_response_is_kept():
    mock = InProcessMock()
    stream = mock.call("POST", "/v1/responses", {**REQUEST, "stream": True})
    assert b'"id":"resp-m-1"' in stream
    assert mock.json("GET", "/v1/responses/resp-m-1")["status"] == "completed"


def test_a_response_that_is_not_to_be_stored_is_not_kept():
    mock = InProcessMock()
    assert status(mock, "GET", f"/v1/responses/{made(mock, store=False)}") == 404


def test_only_a_response_of_the_background_is_cancelled():
    mock = InProcessMock()
    assert status(mock, "POST", f"/v1/responses/{made(mock)}/cancel") == 400
    answer = mock.json("POST", "/v1/responses", {**REQUEST, "background": True})
    assert (answer["status"], answer["output"]) == ("in_progress", [])
    assert mock.json("POST", f"/v1/responses/{answer['id']}/cancel")["status"] == "cancelled"
    assert mock.json("GET", f"/v1/responses/{answer['id']}")["status"] == "cancelled"


def test_a_deleted_response_and_an_unknown_one_are_404():
    mock = InProcessMock()
    response_id = made(mock)
    assert mock.json("DELETE", f"/v1/responses/{response_id}")["deleted"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "/other")):
        assert status(mock, method, f"/v1/responses/{response_id}{path}") == 404


def test_a_response_continues_one_that_is_kept_and_no_other():
    mock = InProcessMock()
    assert status(mock, "POST", "/v1/responses", {**REQUEST, "previous_response_id": made(mock)}) == 200
    assert status(mock, "POST", "/v1/responses", {**REQUEST, "previous_response_id": "resp-x"}) == 404


def test_the_oldest_response_is_dropped():
    stored = StoredResponses()
    for number in range(MAX_STORED + 1):
        stored.add({"id": str(number)}, [])
    assert stored.get("1") == {"id": "1"}
    with pytest.raises(Exception, match="'0' not found"):
        stored.get("0")
