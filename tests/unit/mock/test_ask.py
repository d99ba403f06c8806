"""What is read out of requests."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock.ask import Chat, Completion, Messages, Responses, parse, texts


def chat(**fields):
    return parse(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode(), Chat)


def test_the_question_is_the_last_that_the_user_said():
    said = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None},
    ]
    asked = chat(messages=said)
    assert asked.question() == "second"
    assert asked.transcript() == "system: be brief\nuser: first\nuser: second\nassistant: \n"


def test_the_newer_name_of_the_limit_wins():
    assert chat(max_tokens=5).limit == 5
    assert chat(max_tokens=5, max_completion_tokens=3).limit == 3
    assert chat().limit is None


def test_what_clients_send_as_null_is_as_if_not_sent():
    asked = chat(stream=None, stream_options=None, max_tokens=None, n=None, stop=None)
    assert not asked.stream
    assert not asked.wants_usage
    assert asked.stops == []


def test_anthropic_s_messages_have_their_system_apart():
    said = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stop_sequences": ["x"]}
    for system in ("be brief", [{"type": "text", "text": "be brief"}]):
        asked = parse(json.dumps({**said, "system": system}).encode(), Messages)
        assert asked.transcript() == "system: be brief\nuser: hi\n"
    assert (asked.question(), asked.limit, asked.stops) == ("hi", 5, ["x"])
    with pytest.raises(BadRequest, match="max_tokens"):
        parse(b'{"messages": [{"role": "user"}]}', Messages)


@pytest.mark.parametrize("given", ["hi", [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]])
def test_responses_take_a_text_or_messages(given):
    asked = parse(json.dumps({"input": given, "instructions": "be brief", "max_output_tokens": 5}).encode(), Responses)
    said = asked.conversation()
    assert (said.question(), said.transcript(), asked.limit) == ("hi", "system: be brief\nuser: hi\n", 5)


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
def test_what_is_no_chat_is_a_bad_request(body):
    with pytest.raises(BadRequest, match="cannot read the request's JSON"):
        parse(body, Chat)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a b", ["a b"]), (["a", "b"], ["a", "b"]), ([1, 2], ["1 2"]), ([[1, 2], [3]], ["1 2", "3"])],
)
def test_prompts_come_in_four_forms(prompt, expected):
    assert texts(parse(json.dumps({"prompt": prompt}).encode(), Completion).prompt) == expected


def test_an_empty_list_of_prompts_is_refused():
    with pytest.raises(BadRequest, match="empty list"):
        texts([])
