"""Anthropic's /v1/messages."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock import anthropic_messages
from svc.mock.generation import GeneratedAnswer, GeneratedChoice, usage


def answer(choice: GeneratedChoice) -> GeneratedAnswer:
    return GeneratedAnswer("msg-1", 7, "a", [choice], usage(prompt=20, completion=2, cached=16))


def parsed_events(answer: GeneratedAnswer) -> list[dict]:
    """Return the data of the events, whose names are their types."""
    parsed = []
    for _, event in anthropic_messages.events(answer):
        name, data, rest = event.decode().split("\n", 2)
        parsed.append(json.loads(data.removeprefix("data: ")))
        assert (name, rest) == (f"event: {parsed[-1]['type']}", "\n")
    return parsed


def test_an_answer_that_is_not_streamed():
    body = json.loads(anthropic_messages.body(answer(GeneratedChoice(["m", " x"], "stop"))))
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "a")
    assert body["content"] == [{"type": "text", "text": "m x"}]
    assert body["usage"] == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 16,
        "output_tokens": 2,
    }


@pytest.mark.parametrize(
    ("choice", "reason", "stop"),
    [
        (GeneratedChoice(["m"], "stop"), "end_turn", None),
        (GeneratedChoice(["m"], "length"), "max_tokens", None),
        (GeneratedChoice(["m"], "stop", stop="x"), "stop_sequence", "x"),
        (GeneratedChoice(["{}"], "tool_calls", "f"), "tool_use", None),
    ],
)
def test_the_reason_of_the_end_is_in_body_and_stream(choice, reason, stop):
    body = json.loads(anthropic_messages.body(answer(choice)))
    assert (body["stop_reason"], body["stop_sequence"]) == (reason, stop)
    assert parsed_events(answer(choice))[-2]["delta"] == {"stop_reason": reason, "stop_sequence": stop}


def test_the_events_of_a_stream():
    events = parsed_events(answer(GeneratedChoice(["m", " x"], "stop")))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"] == ["m", " x"]
    start = events[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["input_tokens"]) == ([], None, 4)
    assert events[-2]["usage"] == {"output_tokens": 2}


def test_a_call_is_a_block_of_its_own_kind():
    call = answer(GeneratedChoice(['{"q": ', '"x"}'], "tool_calls", "f"))
    (block,) = json.loads(anthropic_messages.body(call))["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "f", {"q": "x"})
    events = parsed_events(call)
    assert events[1]["content_block"] == block | {"input": {}}
    assert "".join(e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta") == '{"q": "x"}'


def test_only_the_deltas_carry_tokens():
    flags = [has_token for has_token, _ in anthropic_messages.events(answer(GeneratedChoice(["m", " x"], "stop")))]
    assert flags == [False] * 3 + [True] * 2 + [False] * 3


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (418, "api_error"), (500, "api_error")])
def test_an_error_has_anthropic_s_format(status, kind):
    error = anthropic_messages.error_body(BadRequest("wrong"), status)
    assert error == {"type": "error", "error": {"type": kind, "message": "wrong"}}
