"""/v1/responses."""

import json

from svc.mock import responses
from svc.mock.answer import Answer, Choice
from svc.mock.usage import usage


def made(finish: str = "stop") -> Answer:
    return Answer("resp-1", 7, "a", [Choice(["m", " x"], finish)], usage(prompt=20, completion=2, cached=16))


def told(answer: Answer) -> list[dict]:
    """The events' data; each event's name is its type."""
    found = []
    for _, event in responses.events(answer):
        name, data, rest = event.decode().split("\n", 2)
        found.append(json.loads(data.removeprefix("data: ")))
        assert (name, rest) == (f"event: {found[-1]['type']}", "\n")
    return found


def test_one_piece():
    body = json.loads(responses.body(made()))
    assert (body["object"], body["status"], body["incomplete_details"]) == ("response", "completed", None)
    assert [part["text"] for item in body["output"] for part in item["content"]] == ["m x"]
    assert body["usage"]["input_tokens_details"] == {"cached_tokens": 16}
    assert [body["usage"][f"{kind}_tokens"] for kind in ("input", "output", "total")] == [20, 2, 22]


def test_what_is_begun_is_done_in_reverse_and_the_events_are_numbered():
    events = told(made())
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


def test_the_last_event_holds_the_whole_answer_and_the_first_nothing_of_it():
    events = told(made())
    assert events[-1]["response"] == json.loads(responses.body(made()))
    first = events[0]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)


def test_only_the_deltas_take_time():
    assert [timed for timed, _ in responses.events(made())] == [False] * 4 + [True] * 2 + [False] * 4


def test_an_answer_at_its_limit_is_incomplete():
    assert told(made("length"))[-1]["type"] == "response.incomplete"
    body = json.loads(responses.body(made("length")))
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
