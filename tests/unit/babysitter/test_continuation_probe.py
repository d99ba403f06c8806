"""The requests of the continuation probe, and what counts as a continuation."""

import json

import pytest
import requests

from svc.babysitter.continuation_probe import (
    KNOWN_ANSWER,
    MESSAGES_PATH,
    PATH,
    QUESTION,
    ContinuationProbe,
    Verdict,
    goes_on,
    split_answer,
    streamed_text,
)
from svc.protocol.continuation import CONTINUE_FIELDS

ANSWER = "one, two, three, four, five, six, seven, eight"
FIRST, SECOND = split_answer(ANSWER)


def stream(text: str, key: str = "content") -> str:
    """Return the body of a streamed chat with one event for each word, as llama.cpp writes it."""
    deltas = [
        {"role": "assistant", "content": None},
        *({key: piece} for piece in text.replace(" ", "| ").split("|")),
        {},
    ]
    events = [json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
    usage = json.dumps({"choices": [], "usage": {"total_tokens": 3}})
    return "".join(f"data: {event}\n\n" for event in [*events, usage, "[DONE]"])


class FakeEngine:
    """Answers a question with `own`, and the beginning of an answer with `rest`, or on /v1/messages with `message`."""

    def __init__(self, own, rest, message=404):
        self.own, self.rest, self.message, self.bodies, self.urls = own, rest, message, [], []

    def post(self, url, body, timeout):
        assert timeout <= 3
        self.urls.append(url)
        self.bodies.append(body)
        answer = self.own if len(body["messages"]) == 1 else self.rest if url.endswith(PATH) else self.message
        if isinstance(answer, Exception):
            raise answer
        return (answer, "") if isinstance(answer, int) else (200, answer)


def probe(own, rest, message=404) -> tuple[Verdict, FakeEngine]:
    engine = FakeEngine(own, rest, message)
    return ContinuationProbe(["http://here"], engine.post, 3).send("m"), engine


def test_an_engine_that_goes_on_with_the_second_half_continues():
    verdict, engine = probe(stream(ANSWER), stream(SECOND))
    assert verdict == Verdict(True)
    first, second, message = engine.bodies
    assert (first["temperature"], first["stream"], first["messages"]) == (0, True, [QUESTION])
    assert second["messages"] == [QUESTION, {"role": "assistant", "content": FIRST}]
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    assert message == {key: value for key, value in second.items() if key not in CONTINUE_FIELDS}
    assert engine.urls == [f"http://here{PATH}"] * 2 + [f"http://here{MESSAGES_PATH}"]


def message_stream(text: str) -> str:
    """Return the body of a streamed message with one event for each word, as llama.cpp and vLLM write it."""
    pieces = text.replace(" ", "| ").split("|")
    deltas = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": piece}} for piece in pieces]
    events = [{"type": "message_start", "message": {"content": []}}, *deltas, {"type": "message_stop"}]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


@pytest.mark.parametrize(
    ("message", "continues"),
    [
        (message_stream(SECOND), True),
        (message_stream(ANSWER), False),
        (message_stream("Sure!"), False),
        ("", False),
        (404, False),
        (503, False),
        (requests.Timeout(), False),
        (requests.ConnectionError("reset"), False),
    ],
)
def test_an_engine_that_continues_chats_may_begin_messages_anew(message, continues):
    assert probe(stream(ANSWER), stream(SECOND), message)[0] == Verdict(True, continues_messages=continues)
    assert not probe(stream(ANSWER), stream(ANSWER), message_stream(SECOND))[0].continues_messages


@pytest.mark.parametrize(
    "rest",
    [
        stream(ANSWER),
        stream(FIRST + SECOND),
        stream(SECOND.strip()),
        stream("Sure! six, seven"),
        stream(SECOND, key="reasoning_content"),
        stream(""),
        json.dumps({"choices": [{"message": {"content": SECOND}}]}),
        "<html>",
    ],
    ids=["anew", "repeated", "without the blank", "a new turn", "as reasoning", "nothing", "not streamed", "no JSON"],
)
def test_any_other_answer_is_no_continuation_and_may_be_tried_again(rest):
    verdict, _ = probe(stream(ANSWER), rest)
    assert (verdict.continues, verdict.final) == (False, False)


def test_an_engine_may_differ_after_the_first_words():
    assert probe(stream(ANSWER), stream(SECOND[:14] + "teen"))[0].continues


@pytest.mark.parametrize("own", [stream("yes"), stream("a long thought", key="reasoning_content"), stream("ha " * 9)])
def test_an_engine_whose_own_answer_proves_nothing_gets_a_known_one(own):
    begun, rest = KNOWN_ANSWER
    verdict, engine = probe(own, stream(rest + ", eight"))
    assert verdict.continues
    assert engine.bodies[1]["messages"][1]["content"] == begun
    assert not probe(own, stream("one, two"))[0].continues


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
def test_a_refusal_is_final(status):
    assert probe(status, 0)[0] == Verdict(False, True, f"it answers {status}")
    assert probe(stream(ANSWER), status)[0] == Verdict(False, True, f"it answers {status}")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (429, "it answers 429"),
        (503, "it answers 503"),
        (requests.Timeout(), "no answer within 3 s"),
        (requests.ConnectionError("reset"), "it closes the connection"),
    ],
)
def test_an_engine_that_does_not_answer_now_may_be_tried_again(answer, reason):
    assert probe(answer, 0)[0] == Verdict(False, False, reason)


def test_the_second_url_is_used_if_the_first_refuses_connections():
    def post(url, body, timeout):
        if url.startswith("http://here"):
            raise requests.ConnectionError("refused")
        return engine.post(url, body, timeout)

    engine = FakeEngine(stream(ANSWER), stream(SECOND))
    assert ContinuationProbe(["http://here", "http://there"], post, 3).send("m").continues


def test_a_text_is_split_between_words_where_the_rest_proves_something():
    assert (FIRST, SECOND) == ("one, two, three, four,", " five, six, seven, eight")
    assert split_answer("\n one two three four") == ("\n one two", " three four")
    for text in ("", "one", "a b", "ha ha ha ha ha ha ha", "well  "):
        assert split_answer(text) is None


def test_white_space_is_part_of_a_continuation():
    assert goes_on("\n\nsix", "\n\nsix, seven")
    assert not goes_on("\n\nsix", "six, seven")
    assert not goes_on(" six", "")


def test_comments_crlf_and_other_events_are_skipped():
    lines = [": ping", "", "event: x", 'data: {"choices": [{"delta": {"content": "a"}}]}', "", "data: 1"]
    assert streamed_text("\r\n".join([*lines, 'data:{"choices": [{"delta": {"content": "b"}}]}', ""])) == "ab"


@pytest.mark.parametrize("data", ["[" * 100_000 + "]" * 100_000, '{"choices": null}', '{"choices": 5}', '"', "\ufffd"])
def test_what_cannot_be_read_is_skipped(data: str):
    assert streamed_text(f'data: {data}\n\ndata: {{"choices": [{{"delta": {{"content": "a"}}}}]}}\n\n') == "a"
