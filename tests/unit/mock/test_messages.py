"""Anthropic's /v1/messages."""

import json

import pytest

from svc.base.errors import BadRequest
from svc.mock import messages
from svc.mock.answer import Answer, Choice
from svc.mock.usage import usage


def made(choice: Choice) -> Answer:
    return Answer("msg-1", 7, "a", [choice], usage(prompt=20, completion=2, cached=16))


def told(answer: Answer) -> list[dict]:
    """The events' data; each event's name is its type."""
    found = []
    for _, event in messages.events(answer):
        name, data, rest = event.decode().split("\n", 2)
        found.append(json.loads(data.removeprefix("data: ")))
        assert (name, rest) == (f"event: {found[-1]['type']}", "\n")
    return found


def test_one_piece():
    body = json.loads(messages.body(made(Choice(["m", " x"], "stop"))))
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
        (Choice(["m"], "stop"), "end_turn", None),
        (Choice(["m"], "length"), "max_tokens", None),
        (Choice(["m"], "stop", stop="x"), "stop_sequence", "x"),
    ],
)
def test_why_it_ended(choice, reason, stop):
    body = json.loads(messages.body(made(choice)))
    assert (body["stop_reason"], body["stop_sequence"]) == (reason, stop)
    assert told(made(choice))[-2]["delta"] == {"stop_reason": reason, "stop_sequence": stop}


def test_events():
    events = told(made(Choice(["m", " x"], "stop")))
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


def test_only_the_deltas_take_time():
    timed = [timed for timed, _ in messages.events(made(Choice(["m", " x"], "stop")))]
    assert timed == [False] * 3 + [True] * 2 + [False] * 3


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (418, "api_error"), (500, "api_error")])
def test_an_error(status, kind):
    error = messages.error(BadRequest("wrong"), status)
    assert error == {"type": "error", "error": {"type": kind, "message": "wrong"}}
