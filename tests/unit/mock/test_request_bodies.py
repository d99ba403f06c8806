"""The fields of request bodies, and the function that a request requires."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock.request_bodies import (
    ChatBody,
    CompletionBody,
    MessagesBody,
    ResponsesBody,
    parse,
    prompt_texts,
)


def chat(**fields):
    return parse(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode(), ChatBody)


def test_the_answer_repeats_the_last_user_message():
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None},
    ]
    body = chat(messages=messages)
    assert body.last_user_text() == "second"
    assert body.transcript() == "system: be brief\nuser: first\nuser: second\nassistant: \n"


def test_max_completion_tokens_wins_over_max_tokens():
    assert chat(max_tokens=5).limit == 5
    assert chat(max_tokens=5, max_completion_tokens=3).limit == 3
    assert chat().limit is None


def test_a_null_field_is_like_an_absent_one():
    body = chat(stream=None, stream_options=None, max_tokens=None, n=None, stop=None)
    assert not body.stream
    assert not body.wants_usage
    assert body.stops == []


def test_anthropic_requests_have_their_system_prompt_apart():
    fields = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stop_sequences": ["x"]}
    for system in ("be brief", [{"type": "text", "text": "be brief"}]):
        body = parse(json.dumps({**fields, "system": system}).encode(), MessagesBody)
        assert body.transcript() == "system: be brief\nuser: hi\n"
    assert (body.last_user_text(), body.limit, body.stops) == ("hi", 5, ["x"])
    with pytest.raises(BadRequest, match="max_tokens"):
        parse(b'{"messages": [{"role": "user"}]}', MessagesBody)


@pytest.mark.parametrize("given", ["hi", [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]])
def test_responses_requests_have_a_text_or_messages(given):
    body = parse(
        json.dumps({"input": given, "instructions": "be brief", "max_output_tokens": 5}).encode(), ResponsesBody
    )
    conversation = body.conversation()
    assert (conversation.last_user_text(), conversation.transcript(), body.limit) == (
        "hi",
        "system: be brief\nuser: hi\n",
        5,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'"\xff"',
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": "hi"}',
        b'{"messages": [{"content": "no role"}]}',
        b'{"messages": [{"role": "user"}], "max_tokens": 0}',
        b'{"messages": [{"role": "user"}], "n": 1000}',
    ],
)
def test_an_invalid_chat_is_a_bad_request(body):
    with pytest.raises(BadRequest, match="cannot read the request's JSON"):
        parse(body, ChatBody)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a b", ["a b"]), (["a", "b"], ["a", "b"]), ([1, 2], ["1 2"]), ([[1, 2], [3]], ["1 2", "3"])],
)
def test_a_prompt_may_have_four_forms(prompt, expected):
    assert prompt_texts(parse(json.dumps({"prompt": prompt}).encode(), CompletionBody).prompt) == expected


def test_an_empty_list_of_prompts_is_refused():
    with pytest.raises(BadRequest, match="empty list"):
        prompt_texts([])


SCHEMA = {"type": "object"}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


@pytest.mark.parametrize(
    ("body_type", "fields"),
    [
        (ChatBody, {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}),
        (MessagesBody, {"output_config": {"format": FORMAT}}),
        (ResponsesBody, {"text": {"format": {"name": "n", **FORMAT}}}),
    ],
)
def test_each_api_has_its_own_field_for_the_schema_of_the_answer(body_type, fields):
    common = {"messages": [{"role": "user"}], "max_tokens": 9, "input": "hi"}
    assert parse(json.dumps(common | fields).encode(), body_type).answer_schema() == SCHEMA
    assert parse(json.dumps(common).encode(), body_type).answer_schema() is None


def test_a_chat_may_require_json_without_a_schema():
    assert chat(response_format={"type": "json_object"}).answer_schema()["required"] == ["answer"]
    assert chat(response_format={"type": "text"}).answer_schema() is None


def test_the_input_of_responses_may_have_calls_and_their_results():
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "noon"},
    ]
    assert parse(json.dumps({"input": items}).encode(), ResponsesBody).conversation().last_user_text() == "hi"
