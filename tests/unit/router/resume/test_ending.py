import json
from typing import Any

import pytest

from svc.router.resume.dialect import Dialect
from svc.router.resume.ending import ending
from svc.router.resume.partial_answer import PartialAnswer
from tests.unit.router.resume.engines import LlamaCppMessages, Vllm, VllmCompletions

USAGE = {"stream_options": {"include_usage": True}}
DONE = b"data: [DONE]\n\n"


def events_before(stream: bytes, part: bytes) -> bytes:
    """Return the events of a stream before the first one that contains this part."""
    return stream[: stream.rindex(b"\n\n", 0, stream.index(part)) + 2]


def end_of(dialect: Dialect, stream: bytes, prompt_tokens: int = 0, **request: Any) -> bytes:
    partial = PartialAnswer(dialect)
    partial.feed(stream)
    return ending(dialect, json.dumps(request).encode(), partial, prompt_tokens)


def test_only_done_is_written_after_the_usage():
    whole = Vllm(usage=True).stream(["a"])
    assert end_of(Dialect.CHAT, whole.removesuffix(DONE), **USAGE) == DONE


def test_only_done_is_written_if_no_usage_was_asked_for():
    whole = Vllm().stream(["a"])
    assert end_of(Dialect.CHAT, whole.removesuffix(DONE)) == DONE
    assert end_of(Dialect.CHAT, whole.removesuffix(DONE), stream_options=None) == DONE


@pytest.mark.parametrize(("engine", "dialect"), [(Vllm, Dialect.CHAT), (VllmCompletions, Dialect.COMPLETIONS)])
def test_the_usage_is_written_with_the_estimated_prompt(engine: type[Vllm], dialect: Dialect):
    whole = engine(usage=True).stream(["a", "b"])
    usage, done, _ = end_of(dialect, events_before(whole, b'"usage"'), 7, **USAGE).split(b"\n\n")
    first = json.loads(whole[6 : whole.index(b"\n\n")])
    numbers = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert json.loads(usage[6:]) == {**first, "choices": [], "usage": numbers}
    assert done == b"data: [DONE]"


def test_nothing_is_written_for_an_answer_that_goes_on():
    whole = Vllm().stream(["a", "b"])
    for end in range(len(events_before(whole, b'"stop"')) + 1):
        assert end_of(Dialect.CHAT, whole[:end], max_tokens=3) == b""
    assert end_of(Dialect.CHAT, b"", max_tokens=0) == b""
    assert end_of(Dialect.CHAT, whole) == b""  # it is whole


def test_an_answer_that_has_used_its_tokens_finishes():
    begun = events_before(Vllm().stream(["a", "b"]), b'"stop"')
    finish, usage, done, _ = end_of(Dialect.CHAT, begun, 5, max_tokens=2, **USAGE).split(b"\n\n")
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert json.loads(finish[6:])["choices"] == [choice]
    assert json.loads(usage[6:])["usage"]["total_tokens"] == 7
    text = events_before(VllmCompletions().stream(["a", "b", "c"]), b'"c"')
    assert b'"text":""' in end_of(Dialect.COMPLETIONS, text, max_tokens=2)


def test_a_tool_call_whose_reason_to_finish_has_come_is_complete():
    whole = Vllm(call=True).stream(["a"])
    assert end_of(Dialect.CHAT, whole.removesuffix(DONE)) == DONE
    assert end_of(Dialect.CHAT, events_before(whole, b'"tool_calls","stop_reason'), max_tokens=1) == b""


def test_a_message_ends_with_what_is_missing():
    whole = LlamaCppMessages().stream(["a", "b"])
    stop = whole[whole.index(b"event: message_stop") :]
    assert end_of(Dialect.MESSAGES, whole.removesuffix(stop)) == stop
    begun = whole[: whole.index(b"event: content_block_stop")]
    assert end_of(Dialect.MESSAGES, begun, max_tokens=9) == b""
    names = [line for line in end_of(Dialect.MESSAGES, begun, max_tokens=2).split(b"\n") if line[:6] == b"event:"]
    assert names == [b"event: content_block_stop", b"event: message_delta", b"event: message_stop"]
    assert b'"stop_reason":"max_tokens"' in end_of(Dialect.MESSAGES, begun, max_tokens=2)


def test_a_message_whose_reason_to_stop_has_come_only_stops():
    whole = LlamaCppMessages().stream(["a"])
    stop = whole[whole.index(b"event: message_stop") :]
    before, _, after = whole.removesuffix(stop).partition(b"event: content_block_stop")
    without_block_stop = before + after[after.index(b"\n\n") + 2 :]
    assert end_of(Dialect.MESSAGES, without_block_stop) == stop


def test_a_request_that_cannot_be_read_has_no_end():
    begun = events_before(Vllm().stream(["a", "b"]), b'"stop"')
    assert end_of(Dialect.CHAT, begun, max_tokens="x") == b""
