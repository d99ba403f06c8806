import json
from typing import Any

import pytest

from svc.router.resume.continuation import Continuation
from svc.router.resume.continued_events import MAX_EVENT_BYTES, ContinuedEvents
from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.text_join import TextEnd

FIRST = {"id": "a", "model": "m", "created": 7, "object": "chat.completion.chunk"}
COMMON = {"id": "b", "model": "n", "created": 9, "object": "chat.completion.chunk"}


def written(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(event).encode()


def chat(delta: Any, finish: str | None = None, common: dict[str, Any] = COMMON, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return written({**common, "choices": [choice], **more})


def begun(*more: bytes, dialect: Dialect = Dialect.CHAT) -> PartialAnswer:
    """Return what a client has of an answer that has begun with `Hello`."""
    partial = PartialAnswer(dialect)
    for event in (chat({"role": "assistant"}, common=FIRST), chat({"content": "Hello"}, common=FIRST), *more):
        partial.feed(event)
    return partial


def rewritten(*events: bytes, partial: PartialAnswer | None = None, **request: Any) -> list[Any]:
    stream = ContinuedEvents(partial or begun(), Continuation(b"", **{"tokens": 1, **request}))
    result = stream.add(b"".join(events))
    assert not stream.failure
    return [
        data if data == "[DONE]" else json.loads(data) for data in result.decode()[6:-2].split("\n\ndata: ") if data
    ]


def deltas(*events: bytes, **more: Any) -> list[Any]:
    return [event["choices"][0]["delta"] for event in rewritten(*events, **more)]


def failure(*events: bytes, **request: Any) -> str:
    stream = ContinuedEvents(begun(), Continuation(b"", **{"tokens": 1, **request}))
    result = stream.add(chat({"content": "x"}) + b"".join(events) + chat({"content": "y"}) + b":\n\n")
    assert (result.count(b"data:"), result.count(b"\n\n")) == (1, 1)
    assert stream.add(chat({"content": "z"})) == b""
    return stream.failure


def test_events_get_the_id_the_model_and_the_time_of_the_answer():
    (event,) = rewritten(chat({"content": "!"}, system_fingerprint="f"))
    choice = {"index": 0, "delta": {"content": "!"}, "logprobs": None, "finish_reason": None}
    assert event == {**FIRST, "choices": [choice], "system_fingerprint": "f"}


@pytest.mark.parametrize("content", [{"content": ""}, {"content": None}, {}, {"content": None, "tool_calls": []}])
def test_no_second_role_comes(content: dict[str, Any]):
    assert deltas(chat({"role": "assistant", **content}), chat({"content": "!"})) == [{"content": "!"}]


def test_a_text_beside_a_second_role_comes():
    assert deltas(chat({"role": "assistant", "content": "!"})) == [{"content": "!"}]


def test_the_first_role_comes_if_the_client_has_nothing():
    events = [chat({"role": "assistant", "content": ""}), chat({"content": "!"})]
    assert deltas(*events, partial=PartialAnswer(Dialect.CHAT), repeats=True, tokens=0) == [
        {"role": "assistant", "content": ""},
        {"content": "!"},
    ]


def test_white_space_that_the_client_has_makes_no_event():
    events = [chat({"content": "\n"}), chat({"content": "\n!"}), chat({}, "stop")]
    assert deltas(*events, text_end=TextEnd("\n\n")) == [{"content": "!"}, {}]


def test_a_tool_may_be_called_after_the_text():
    call = {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]}
    assert deltas(chat(call), chat({}, "tool_calls")) == [call, {}]


def test_reasoning_comes_if_no_text_had_begun():
    assert deltas(chat({"reasoning": "Hm"}), repeats=True) == [{"reasoning": "Hm"}]


def test_the_answer_finishes_once():
    events = rewritten(chat({}, "stop"), chat({}, "stop"), chat({"content": "x"}), b"data: [DONE]\n\n")
    assert [event if event == "[DONE]" else event["choices"][0]["finish_reason"] for event in events] == [
        "stop",
        "[DONE]",
    ]


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def test_the_usage_is_that_of_the_whole_answer():
    details = {"prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0}, "completion_tokens_details": None}
    (event,) = rewritten(written({**COMMON, "choices": [], "usage": usage(30, 5, **details)}), tokens=12)
    details["prompt_tokens_details"] = {"cached_tokens": 18, "audio_tokens": 0}
    assert event["usage"] == usage(18, 17, **details)


def test_the_prompt_is_the_one_that_the_first_instance_has_counted():
    details = {"prompt_tokens_details": {"cached_tokens": 2}}
    partial = begun(chat({"content": "!"}, common=FIRST, usage=usage(20, 2, **details)))
    later = usage(23, 1, prompt_tokens_details={"cached_tokens": 16})
    (event,) = rewritten(chat({"content": "?"}, usage=later), partial=partial, tokens=2)
    assert event["usage"] == usage(20, 3, **details)


def test_llama_cpps_counts_are_those_of_the_whole_answer():
    timings = {"cache_n": 25, "prompt_n": 5, "prompt_ms": 3.5, "predicted_n": 4}
    (event,) = rewritten(chat({}, "stop", timings=timings), tokens=12)
    assert event["timings"] == {"cache_n": 18, "prompt_n": 0, "prompt_ms": 3.5, "predicted_n": 16}


def test_comments_come_too():
    stream = ContinuedEvents(begun(), Continuation(b""))
    assert stream.add(b":\n\n: ping\r\n\r\n") == b":\n\n: ping\n\n"


def test_an_event_in_pieces_comes_as_a_whole():
    stream = ContinuedEvents(begun(), Continuation(b""))
    event = chat({"content": "!"})
    assert stream.add(event[:50]) == b""
    assert stream.add(event[50:-2]) == b""
    assert b'"!"' in stream.take_rest()
    assert stream.take_rest() == b""


def test_half_a_surrogate_pair_comes_as_it_is():
    assert rewritten(chat({"content": "\ud83d"}))[0]["choices"][0]["delta"] == {"content": "\ud83d"}


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (chat({"reasoning_content": "Hm"}), "reason anew"),
        (chat({"reasoning": "Hm"}), "reason anew"),
        (written({"error": {"message": "no memory"}}), "no memory"),
        (written({"choices": [{"index": 1, "delta": {"content": "a"}}]}), "several choices"),
        (written({"choices": [{"index": 0, "delta": {}}, {"index": 1, "delta": {}}]}), "several choices"),
        (b"data: {]\n\n", "cannot be read"),
        (b"data: []\n\n", "cannot be read"),
        (written({"choices": [{"index": 0, "delta": {"content": 5}}]}), "cannot be read"),
        (written({"choices": [5]}), "cannot be read"),
    ],
)
def test_an_instance_that_does_not_continue_fails(events: bytes, words: str):
    assert words in failure(events)


def test_a_stop_that_began_before_the_break_ends_the_answer():
    end = TextEnd("", "lo", ("lo!",))
    stream = ContinuedEvents(begun(), Continuation(b"", text_end=end, tokens=1))
    result = stream.add(chat({"content": "! You"}) + chat({"content": " too"}) + b"data: [DONE]\n\n")
    assert stream.stopped
    first, *rest = result.decode()[6:-2].split("\n\ndata: ")
    assert json.loads(first)["choices"][0] | {"logprobs": None} == {
        "index": 0,
        "delta": {"content": ""},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert rest == ["[DONE]"]


def test_nothing_comes_after_the_end_whatever_the_instance_sends():
    stream = ContinuedEvents(begun(), Continuation(b"", tokens=1))
    end = chat({}, "stop") + b"data: [DONE]\n\n"
    assert stream.add(end + b"data: [DONE]\n\n" + chat({"content": "x"}) + b":\n\ndata: {").count(b"\n\n") == 2
    assert stream.add(b"data: nonsense\n\n") == stream.take_rest() == b""
    assert not stream.failure


@pytest.mark.parametrize("events", [b"", chat({"content": "x"}), b": a comment\n\n", b"no event at all"])
def test_an_answer_that_ends_without_a_reason_to_finish_fails(events: bytes):
    stream = ContinuedEvents(begun(), Continuation(b"", tokens=1))
    stream.add(events)
    stream.take_rest()
    assert "without a reason to finish" in stream.failure


def test_an_event_without_an_end_is_not_kept_for_ever():
    stream = ContinuedEvents(begun(), Continuation(b"", tokens=1))
    assert stream.add(b'data: {"x": "') == b""
    for _ in range(5):
        assert stream.add(b"x" * (MAX_EVENT_BYTES // 4)) == b""
    assert "too long" in stream.failure
    assert stream.take_rest() == b""
