"""Which object a request is about, and the id of a new one in the beginning of an answer."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.http.object_paths import ObjectFields, ObjectPath, created_id, file_ids, parse_path, read_object_fields


@pytest.mark.parametrize(
    ("method", "uri", "path"),
    [
        (b"POST", b"/v1/responses", ObjectPath(b"POST")),
        (b"POST", b"/responses?x=1", ObjectPath(b"POST")),
        (b"GET", b"/v1/responses/resp_1?stream=true", ObjectPath(b"GET", "resp_1")),
        (b"DELETE", b"/v1/files/file-1", ObjectPath(b"DELETE", "file-1")),
        (b"POST", b"/v1/responses/resp_1/cancel", ObjectPath(b"POST", "resp_1", True)),
        (b"GET", b"/v1/files/file-1/content", ObjectPath(b"GET", "file-1", True)),
        (b"DELETE", b"/v1/conversations/conv_1/items/msg_1", ObjectPath(b"DELETE", "conv_1", True)),
        (b"GET", b"/v1/videos/v-1/content", ObjectPath(b"GET", "v-1", True)),
        (b"GET", b"/v1/batches", ObjectPath(b"GET")),
        (b"GET", b"/v1/batches/b-1", ObjectPath(b"GET", "b-1", is_batch=True)),
        (b"POST", b"/v1/chat/completions", None),
        (b"POST", b"/v1/messages/batches", None),
        (b"GET", b"/v1/filesystem/a", None),
        (b"GET", b"//v1/files/a", None),
    ],
)
def test_paths(method: bytes, uri: bytes, path: ObjectPath | None):
    assert parse_path(method, uri) == path


def test_what_a_path_does():
    assert parse_path(b"POST", b"/v1/batches").creates
    assert not parse_path(b"POST", b"/v1/batches/b/cancel").creates
    assert parse_path(b"DELETE", b"/v1/conversations/c").deletes
    assert not parse_path(b"DELETE", b"/v1/conversations/c/items/i").deletes
    assert parse_path(b"GET", b"/v1/files/f/content").reads
    assert not parse_path(b"GET", b"/v1/files").reads


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"previous_response_id": "resp_1"}, ObjectFields(("resp_1",))),
        ({"conversation": "conv_1", "previous_response_id": None}, ObjectFields(("conv_1",))),
        ({"conversation": {"id": "conv_1"}, "previous_response_id": "resp_1"}, ObjectFields(("resp_1", "conv_1"))),
        ({"conversation": {"id": 7}, "input_file_id": ["x"]}, ObjectFields()),
        ({"input_file_id": "file-1"}, ObjectFields(("file-1",))),
        ({"store": False}, ObjectFields((), keeps=False)),
        ({"store": False, "background": True}, ObjectFields()),
        ({"input": {"previous_response_id": "resp_1"}}, ObjectFields()),
        ([], ObjectFields()),
    ],
)
def test_fields_of_a_body(body: object, fields: ObjectFields):
    assert read_object_fields(json.dumps(body).encode()) == fields


@given(st.binary())
def test_any_bytes_are_a_body(body: bytes):
    read_object_fields(body)


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
members = st.dictionaries(st.text().filter(lambda name: name not in ("id", "response")), values, max_size=4)
ids = st.from_regex(r"[a-z]{1,9}[_-][0-9a-f]{1,32}", fullmatch=True)
indents = st.sampled_from([None, 1])


@given(members, ids, st.recursive(values, lambda v: st.lists(v) | st.dictionaries(st.text(), v)), indents)
def test_the_id_is_found_behind_simple_members(before: dict, object_id: str, after: object, indent: int | None):
    body = {**before, "id": object_id, "object": "response", "output": after}
    assert created_id(json.dumps(body, indent=indent).encode(), events=False) == object_id
    event = json.dumps({"type": "response.created", "sequence_number": 0, "response": body}).encode()
    assert created_id(b"event: response.created\ndata: " + event + b"\n\n", events=True) == object_id


@given(members, ids)
def test_the_id_of_an_object_inside_is_not_taken(before: dict, object_id: str):
    assert created_id(json.dumps({**before, "output": {"id": object_id}}).encode(), events=False) == ""
    assert created_id(json.dumps([{**before, "id": object_id}]).encode(), events=False) == ""


@given(members, ids, st.data())
def test_an_id_that_has_not_arrived_whole_is_not_taken(before: dict, object_id: str, data: st.DataObject):
    body = json.dumps({**before, "id": object_id}).encode()
    end = data.draw(st.integers(0, len(body) - 2))
    assert created_id(body[:end], events=False) == ""


def test_a_text_that_looks_like_a_response_is_not_read_as_one_before_the_event():
    event = {"type": "response.created", "response": {"id": "resp_1", "instructions": '"response": {"id": "resp_2"'}}
    assert created_id(b"data: " + json.dumps(event).encode(), events=True) == "resp_1"


def test_a_long_beginning_is_searched_in_linear_time():
    text = '{"a": "' + "\\\\" * 8000
    assert created_id(text.encode(), events=False) == ""
    assert created_id(("{" + '"a":1,' * 2700).encode(), events=False) == ""


def test_the_fields_of_a_large_body_are_read():
    body = {"input": "x" * 100_000, "previous_response_id": "resp_1", "instructions": "y" * 100_000}
    assert read_object_fields(json.dumps(body).encode()).object_ids == ("resp_1",)


def test_the_files_of_a_batch():
    batch = {"id": "b-1", "input_file_id": "f-1", "output_file_id": "f-2", "error_file_id": None}
    assert file_ids(json.dumps(batch).encode()) == ["f-2"]
    assert file_ids(json.dumps({**batch, "error_file_id": "f-3"}, indent=1).encode()) == ["f-2", "f-3"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"previous_response_id": "resp_1", "temperature": NaN}',
        rb'{"previous_response_id": "resp_1", "input": "half a pair: \ud83d"}',
        '{"conversation": {"id": "resp_1"}}'.encode("utf-16"),
        b'{"conversation": {"id": "other"}, "conversation": {"x": [[]], "id": "resp_1"}}',
    ],
)
def test_fields_are_read_as_engines_read_them(body: bytes):
    assert read_object_fields(body).object_ids == ("resp_1",)


@pytest.mark.parametrize("value", [b"[%b]", b'{"x": [%b]}', b'{"id": [%b]}'])
@pytest.mark.parametrize("name", [b"conversation", b"previous_response_id", b"store", b"background"])
def test_values_of_other_types_are_not_built(name: bytes, value: bytes):
    body = b'{"%b": %b}' % (name, value % b",".join([b"[]"] * 100_000))
    tracemalloc.start()
    try:
        assert read_object_fields(body) == ObjectFields()
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()
