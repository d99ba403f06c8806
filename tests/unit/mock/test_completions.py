"""The bodies and streams of chat and completions."""

import json

from svc.mock import completions
from svc.mock.completions import CHAT, TEXT
from svc.mock.generation import GeneratedAnswer, GeneratedChoice, call_function


def answer(*choices: GeneratedChoice) -> GeneratedAnswer:
    return GeneratedAnswer("id-1", 7, "a", list(choices), {"total_tokens": 9})


def parse(event: bytes) -> dict:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    return json.loads(event[6:])


def test_a_chat_that_is_not_streamed():
    body = json.loads(completions.body(answer(GeneratedChoice(["m", " x"], "length")), CHAT))
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "m x", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"] == {"total_tokens": 9}


CALL = call_function("weather", '{"city": "Bergen"}')


def test_a_tool_call_that_is_not_streamed():
    choice = json.loads(completions.body(answer(CALL), CHAT))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": '{"city": "Bergen"}'})


def test_a_streamed_tool_call_has_its_name_first_and_then_arguments():
    chunks = [parse(event) for _, event in list(completions.events(answer(CALL), CHAT, with_usage=False))[:-1]]
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


def test_a_streamed_chat_has_its_tokens_then_the_end_then_the_usage():
    *events, done = completions.events(answer(GeneratedChoice(["m", " x"], "stop")), CHAT, with_usage=True)
    chunks = [parse(event) for _, event in events]
    assert [has_token for has_token, _ in events] == [True, True, False, False]
    assert done == (False, b"data: [DONE]\n\n")
    assert [c["delta"] for chunk in chunks for c in chunk["choices"]] == [
        {"role": "assistant", "content": "m"},
        {"content": " x"},
        {},
    ]
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]] == [None, None, "stop"]
    assert [chunk["usage"] for chunk in chunks] == [None, None, None, {"total_tokens": 9}]
    assert chunks[-1]["choices"] == []


def test_usage_is_streamed_only_on_request():
    assert all(
        b"usage" not in event for _, event in completions.events(answer(GeneratedChoice(["m"], "stop")), CHAT, False)
    )


def test_several_choices_are_streamed_in_turn():
    events = completions.events(
        answer(GeneratedChoice(["1", "2"], "stop"), GeneratedChoice(["3"], "length")), TEXT, with_usage=False
    )
    *events, _ = events
    choices = [
        (has_token, choice["index"], choice["text"], choice["finish_reason"])
        for has_token, event in events
        for choice in parse(event)["choices"]
    ]
    assert choices == [
        (True, 0, "1", None),
        (False, 1, "3", None),
        (True, 0, "2", None),
        (False, 0, "", "stop"),
        (False, 1, "", "length"),
    ]


def test_an_empty_answer_is_still_a_stream():
    first, last, _ = completions.events(answer(GeneratedChoice([], "stop")), CHAT, False)
    assert parse(first[1])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert parse(last[1])["choices"][0]["finish_reason"] == "stop"
