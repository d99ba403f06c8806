import json
from typing import Any

import pytest

from svc.router.resume.continuation import Continuation
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.text_join import TextEnd

Event = dict[str, Any]


def start(message_id: str, **usage: int) -> Event:
    return {"type": "message_start", "message": {"id": message_id, "model": "m", "content": [], "usage": usage}}


def block(index: int, kind: str = "text", **fields: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def text(index: int, text: str) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


def stop(index: int) -> Event:
    return {"type": "content_block_stop", "index": index}


def end(reason: str = "end_turn", **usage: int) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def written(*events: Event) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


MESSAGE_STOP = {"type": "message_stop"}
BEGUN = (start("a", input_tokens=9, output_tokens=0), block(0, text=""), text(0, "Hello"))


def partial_of(*events: Event) -> PartialAnswer:
    partial = PartialAnswer(Dialect.MESSAGES)
    partial.feed(written(*events))
    assert not partial.obstacle
    return partial


def stream_of(partial: PartialAnswer | None = None, **request: Any) -> ContinuedEvents:
    return ContinuedEvents(partial or partial_of(*BEGUN), Continuation(b"", **{"tokens": 1, **request}))


def rewritten(*events: Event, partial: PartialAnswer | None = None, **request: Any) -> list[Event]:
    stream = stream_of(partial, **request)
    result = stream.add(written(*events)).decode()
    assert not stream.failure
    lines = [event.split("\n") for event in result.split("\n\n")[:-1]]
    assert [name for name, _ in lines] == [f"event: {json.loads(data[6:])['type']}" for _, data in lines]
    return [json.loads(data[6:]) for _, data in lines]


def test_the_text_goes_on_in_the_block_that_is_open():
    events = [start("b", input_tokens=10), block(0), {"type": "ping"}, text(0, "!"), stop(0)]
    assert rewritten(*events, end(output_tokens=4), MESSAGE_STOP) == [
        {"type": "ping"},
        text(0, "!"),
        stop(0),
        end(output_tokens=5),
        MESSAGE_STOP,
    ]


def test_the_blocks_indices_go_on():
    partial = partial_of(*BEGUN, stop(0), block(1), text(1, "You"))
    tool = block(1, "tool_use", id="1", name="f", input={})
    arguments = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    events = [start("b"), block(0), text(0, "!"), stop(0), tool, arguments, stop(1)]
    assert rewritten(*events, partial=partial) == [
        text(1, "!"),
        stop(1),
        {**tool, "index": 2},
        {**arguments, "index": 2},
        stop(2),
    ]


def test_the_open_block_ends_although_the_instance_sends_no_text():
    assert rewritten(start("b"), end(output_tokens=0)) == [stop(0), end(output_tokens=1)]


def test_the_open_block_ends_before_a_tool_is_called():
    tool = block(0, "tool_use", id="1", name="f", input={})
    assert rewritten(start("b"), tool, stop(0)) == [stop(0), {**tool, "index": 1}, stop(1)]


def test_a_new_block_begins_if_none_is_open():
    assert rewritten(start("b"), block(0), text(0, "!"), partial=partial_of(*BEGUN, stop(0))) == [
        {**block(1), "content_block": {"type": "text", "text": ""}},
        text(1, "!"),
    ]


def test_a_text_in_the_beginning_of_a_block_comes():
    assert rewritten(block(0, text="!")) == [text(0, "!")]


def test_the_beginning_comes_if_the_client_has_nothing():
    events = [start("b", input_tokens=3), block(0, text=""), text(0, "!"), stop(0)]
    nothing = PartialAnswer(Dialect.MESSAGES)
    assert rewritten(*events, partial=nothing, repeats=True, tokens=0) == events


def test_white_space_that_the_client_has_makes_no_event():
    events = [start("b"), block(0), text(0, "\n"), text(0, "\n!")]
    assert rewritten(*events, text_end=TextEnd("\n\n")) == [text(0, "!")]


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        ({"input_tokens": 9}, {"input_tokens": 14, "output_tokens": 4}, {"input_tokens": 9, "output_tokens": 9}),
        ({}, {"input_tokens": 14, "output_tokens": 4}, {"input_tokens": 9, "output_tokens": 9}),
        (
            {"input_tokens": 2, "cache_read_input_tokens": 7},
            {"input_tokens": 1, "cache_read_input_tokens": 13, "output_tokens": 4},
            {"input_tokens": 2, "cache_read_input_tokens": 7, "output_tokens": 9},
        ),
    ],
)
def test_the_usage_is_that_of_the_whole_answer(first: Any, later: Any, expected: Any):
    partial = partial_of(start("a", **first), *BEGUN[1:])
    assert rewritten(end(**later), partial=partial, tokens=5)[-1]["usage"] == expected


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (block(1, "thinking", thinking=""), "reason anew"),
        (block(1, "redacted_thinking", data=""), "reason anew"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "full"}}, "full"),
        ({"type": "surprise"}, "surprise"),
        (text(3, "!"), "cannot be read"),
        (stop(3), "cannot be read"),
        ({"type": "content_block_start", "index": 0}, "cannot be read"),
        ({"type": "message_delta"}, "cannot be read"),
    ],
)
def test_an_instance_that_does_not_continue_fails(event: Event, words: str):
    stream = stream_of()
    result = stream.add(written(block(0), text(0, "!"), event, text(0, "?")))
    assert words in stream.failure
    assert b'"?"' not in result


def test_a_stop_that_began_before_the_break_ends_the_answer():
    stream = stream_of(text_end=TextEnd("", "lo", ("lo!?",), keeps_stop=True))
    events = [block(0), text(0, "!"), text(0, "? You"), text(0, " too"), stop(0), end(output_tokens=99), MESSAGE_STOP]
    result = stream.add(written(*events))
    assert stream.stopped
    last = end("stop_sequence", output_tokens=3)
    last["delta"]["stop_sequence"] = "lo!?"
    expected = written(text(0, "!"), text(0, "?"), stop(0), last, MESSAGE_STOP)
    assert result == expected.replace(b": ", b":").replace(b", ", b",").replace(b"event:", b"event: ").replace(
        b"data:", b"data: "
    )


def test_nothing_comes_after_the_end_whatever_the_instance_sends():
    """vLLM writes `[DONE]` after message_stop."""
    stream = stream_of()
    result = stream.add(written(block(0), text(0, "!"), stop(0), end(), MESSAGE_STOP) + b"data: [DONE]\n\n")
    assert result.count(b"event: message_stop") == 1
    assert b"DONE" not in result
    assert stream.add(b"data: nonsense\n\n") == stream.take_rest() == b""
    assert not stream.failure


def test_a_message_that_ends_without_a_reason_to_stop_fails():
    stream = stream_of()
    stream.add(written(block(0), text(0, "!"), stop(0)))
    stream.take_rest()
    assert "without a reason to finish" in stream.failure


def test_a_failure_is_a_short_text():
    stream = stream_of()
    stream.add(written({"type": "surprise" * 1000}))
    assert len(stream.failure) < 200
