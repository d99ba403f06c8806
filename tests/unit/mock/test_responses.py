"""OpenAI's /v1/responses."""

import json

from svc.mock import responses
from svc.mock.generation import GeneratedAnswer, GeneratedChoice, usage


def answer(finish: str = "stop") -> GeneratedAnswer:
    return GeneratedAnswer(
        "resp-1", 7, "a", [GeneratedChoice(["m", " x"], finish)], usage(prompt=20, completion=2, cached=16)
    )


def parsed_events(answer: GeneratedAnswer) -> list[dict]:
    """Return the data of the events, whose names are their types."""
    parsed = []
    for _, event in responses.events(answer):
        name, data, rest = event.decode().split("\n", 2)
        parsed.append(json.loads(data.removeprefix("data: ")))
        assert (name, rest) == (f"event: {parsed[-1]['type']}", "\n")
    return parsed


def test_an_answer_that_is_not_streamed():
    body = json.loads(responses.body(answer()))
    assert (body["object"], body["status"], body["incomplete_details"]) == ("response", "completed", None)
    assert [part["text"] for item in body["output"] for part in item["content"]] == ["m x"]
    assert body["usage"]["input_tokens_details"] == {"cached_tokens": 16}
    assert [body["usage"][f"{kind}_tokens"] for kind in ("input", "output", "total")] == [20, 2, 22]


def test_the_events_are_nested_and_numbered():
    events = parsed_events(answer())
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events if "delta" in event] == ["m", " x"]
    assert {event["item_id"] for event in events if "item_id" in event} == {events[2]["item"]["id"]}


def test_the_last_event_has_the_whole_answer_and_the_first_none():
    events = parsed_events(answer())
    assert events[-1]["response"] == json.loads(responses.body(answer()))
    first = events[0]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)


def test_only_the_deltas_carry_tokens():
    assert [has_token for has_token, _ in responses.events(answer())] == [False] * 4 + [True] * 2 + [False] * 4


def test_a_call_is_an_item_of_its_own_kind():
    call = GeneratedAnswer("resp-1", 7, "a", [GeneratedChoice(['{"q": ', '"x"}'], "tool_calls", "f")], answer().usage)
    body = json.loads(responses.body(call))
    (item,) = body["output"]
    assert (body["status"], item["type"], item["name"], item["arguments"]) == (
        "completed",
        "function_call",
        "f",
        '{"q": "x"}',
    )
    events = parsed_events(call)
    assert [event["type"].removeprefix("response.") for event in events[2:-1]] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[2]["item"] == item | {"status": "in_progress", "arguments": ""}
    assert events[-2]["item"] == item


def test_an_answer_that_reaches_its_limit_is_incomplete():
    assert parsed_events(answer("length"))[-1]["type"] == "response.incomplete"
    body = json.loads(responses.body(answer("length")))
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
