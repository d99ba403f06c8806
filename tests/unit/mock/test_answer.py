"""What the mock says."""

import json

import pytest

from svc.mock import answer
from svc.mock.answer import CHAT, TEXT, Answer, Choice, say


def test_it_repeats_what_it_heard_and_says_who_it_is():
    assert say("alpha", "Hello there", None, None, []) == Choice(["alpha", " heard:", " Hello", " there"], "stop")


def test_blanks_and_lines_are_kept():
    assert say("m", "a\n\n  b", None, None, []).text == "m heard: a\n\n  b"


def test_a_length_asked_for_is_reached_by_going_round():
    choice = say("m", "a b", 7, None, [])
    assert choice.text == "m heard: a b a b a"
    assert len(choice.tokens) == 7


def test_a_length_is_reached_with_nothing_to_repeat():
    assert len(say("m", "", 9, None, []).tokens) == 9


@pytest.mark.parametrize(("limit", "finish", "tokens"), [(3, "length", 3), (4, "stop", 4), (99, "stop", 4)])
def test_the_limit_of_the_client_holds_and_is_told(limit, finish, tokens):
    choice = say("m", "a b", None, limit, [])
    assert (choice.finish, len(choice.tokens)) == (finish, tokens)


def test_it_stops_before_the_first_of_the_stops():
    assert say("m", "one two three", None, None, ["three", " two", ""]) == Choice(
        ["m", " heard:", " one"], "stop", stop=" two"
    )


def test_a_long_prompt_is_not_repeated_whole_unless_asked():
    assert len(say("m", "x " * 10_000, None, None, []).tokens) == answer.NATURAL_LENGTH


def test_a_prompt_of_blanks_takes_no_time():
    assert len(say("m", " " * 1_000_000, 500_000, None, []).tokens) == 500_000


def made(*choices: Choice) -> Answer:
    return Answer("id-1", 7, "a", list(choices), {"total_tokens": 9})


def read(event: bytes) -> dict:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    return json.loads(event[6:])


def test_a_chat_in_one_piece():
    body = json.loads(answer.body(made(Choice(["m", " x"], "length")), CHAT))
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "m x", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"] == {"total_tokens": 9}


CALL = answer.call("weather", '{"city": "Bergen"}')


def test_a_tool_call_in_one_piece():
    choice = json.loads(answer.body(made(CALL), CHAT))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": '{"city": "Bergen"}'})


def test_a_tool_call_in_events_is_named_first_and_its_arguments_come_in_parts():
    chunks = [read(event) for _, event in list(answer.events(made(CALL), CHAT, with_usage=False))[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    calls = [delta["tool_calls"][0] for delta in deltas[:-1]]
    assert len(calls) == len(CALL.tokens) > 1
    assert (deltas[0]["role"], calls[0]["id"], calls[0]["function"]["name"]) == (
        "assistant",
        "call_weather",
        "weather",
    )
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "Bergen"}'
    assert all(call["index"] == 0 for call in calls)
    assert all("id" not in call for call in calls[1:])
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_chat_in_events_has_a_token_in_each_then_the_end_then_the_usage():
    *events, done = answer.events(made(Choice(["m", " x"], "stop")), CHAT, with_usage=True)
    chunks = [read(event) for _, event in events]
    assert [timed for timed, _ in events] == [True, True, False, False]
    assert done == (False, b"data: [DONE]\n\n")
    assert [c["delta"] for chunk in chunks for c in chunk["choices"]] == [
        {"role": "assistant", "content": "m"},
        {"content": " x"},
        {},
    ]
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]] == [None, None, "stop"]
    assert [chunk["usage"] for chunk in chunks] == [None, None, None, {"total_tokens": 9}]
    assert chunks[-1]["choices"] == []


def test_usage_is_streamed_only_to_who_asks():
    assert all(b"usage" not in event for _, event in answer.events(made(Choice(["m"], "stop")), CHAT, False))


def test_several_choices_are_streamed_side_by_side():
    events = answer.events(made(Choice(["1", "2"], "stop"), Choice(["3"], "length")), TEXT, with_usage=False)
    *events, _ = events
    told = [
        (timed, choice["index"], choice["text"], choice["finish_reason"])
        for timed, event in events
        for choice in read(event)["choices"]
    ]
    assert told == [
        (True, 0, "1", None),
        (False, 1, "3", None),
        (True, 0, "2", None),
        (False, 0, "", "stop"),
        (False, 1, "", "length"),
    ]


def test_an_answer_that_a_stop_emptied_is_still_a_stream():
    first, last, _ = answer.events(made(Choice([], "stop")), CHAT, False)
    assert read(first[1])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert read(last[1])["choices"][0]["finish_reason"] == "stop"
