import json
from typing import Any

import pytest

from svc.router.resume.continuation import Continuation, continuation, is_used_up
from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer

USER = {"role": "user", "content": "Hi"}
CONTINUES = {"continue_final_message": True, "add_generation_prompt": False}


def partial_of(dialect: Dialect, *texts: str, reasoning: str = "") -> PartialAnswer:
    partial = PartialAnswer(dialect)
    if dialect is Dialect.MESSAGES:
        deltas = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}} for text in texts]
        block = {"type": "content_block_start", "content_block": {"type": "text"}}
        events = [{"type": "message_start", "message": {"id": "a"}}, block, *deltas]
    elif dialect is Dialect.COMPLETIONS:
        events = [{"id": "a", "choices": [{"text": text}]} for text in texts]
    else:
        deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
        if reasoning:
            deltas.insert(1, {"reasoning": reasoning})
        events = [{"id": "a", "choices": [{"delta": delta}]} for delta in deltas]
    partial.feed(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events))
    assert not partial.obstacle
    return partial


def request(dialect: Dialect, body: dict[str, Any], *texts: str, reasoning: str = "") -> Continuation:
    return continuation(dialect, json.dumps(body).encode(), partial_of(dialect, *texts, reasoning=reasoning))


def fields(dialect: Dialect, body: dict[str, Any], *texts: str, reasoning: str = "") -> dict[str, Any]:
    return json.loads(request(dialect, body, *texts, reasoning=reasoning).body)


def test_a_chat_is_asked_to_continue_the_message_so_far():
    body = {"model": "m", "messages": [USER], "temperature": 0, "stream": True}
    message = {"role": "assistant", "content": "Hello, 漢"}
    expected = {**body, "messages": [USER, message], **CONTINUES}
    assert fields(Dialect.CHAT, body, "Hello", ", 漢") == expected
    assert list(expected) == list(fields(Dialect.CHAT, body, "Hello", ", 漢"))  # in the same order


def test_finished_reasoning_goes_with_the_message():
    message = fields(Dialect.CHAT, {"messages": [USER]}, "Hello", reasoning="Hm.")["messages"][-1]
    assert message == {"role": "assistant", "content": "Hello", "reasoning_content": "Hm."}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("He", "Hello"),
        ([{"type": "text", "text": "He", "x": 1}], [{"type": "text", "text": "Hello", "x": 1}]),
        ([{"type": "x"}, {"type": "text", "text": ""}], [{"type": "x"}, {"type": "text", "text": "llo"}]),
    ],
)
@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES])
def test_text_goes_on_behind_the_beginning_that_the_client_gave(dialect: Dialect, content: Any, expected: Any):
    body = {"messages": [USER, {"role": "assistant", "content": content, "name": "n"}], **CONTINUES}
    last = {"role": "assistant", "content": expected, "name": "n"}
    assert fields(dialect, body, "llo")["messages"] == [USER, last]


def test_a_message_of_anthropic_is_continued_as_its_last_turn():
    body = {"model": "m", "max_tokens": 10, "messages": [USER]}
    expected = {"model": "m", "max_tokens": 8, "messages": [USER, {"role": "assistant", "content": "Hello"}]}
    assert fields(Dialect.MESSAGES, body, "Hel", "lo") == expected


@pytest.mark.parametrize(("prompt", "expected"), [("Say", "Say Hello \n"), (["Say"], ["Say Hello \n"])])
def test_a_completion_gets_its_prompt_with_the_whole_text(prompt: Any, expected: Any):
    assert fields(Dialect.COMPLETIONS, {"prompt": prompt}, " Hello", " \n") == {"prompt": expected}


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES])
def test_white_space_at_the_end_is_left_out_and_generated_again(dialect: Dialect):
    asked = request(dialect, {"messages": [USER], "max_tokens": 10}, " Hi", "\n", " \n")
    assert json.loads(asked.body)["messages"][-1]["content"] == " Hi"
    assert asked.text_end.left_out == "\n \n"
    assert asked.tokens == 1
    assert json.loads(asked.body)["max_tokens"] == 9


@pytest.mark.parametrize("texts", [(), ("", ""), ("\n", " ")])
def test_the_same_request_is_sent_again_if_only_white_space_has_come(texts: tuple[str, ...]):
    body = b'{ "messages": [], "max_tokens": 10 }'
    asked = continuation(Dialect.CHAT, body, partial_of(Dialect.CHAT, *texts))
    assert asked.repeats
    assert asked.body == body
    assert (asked.text_end.left_out, asked.tokens) == ("".join(texts), 0)


def test_limits_are_reduced_by_the_tokens_that_were_generated():
    body = {"prompt": "a", "max_tokens": 10, "n_predict": -1, "min_tokens": 5, "max_completion_tokens": None}
    expected = {"max_tokens": 7, "n_predict": -1, "min_tokens": 2, "max_completion_tokens": None}
    assert fields(Dialect.COMPLETIONS, body, "a", "", "b") == {"prompt": "aab", **expected}
    assert fields(Dialect.COMPLETIONS, {"prompt": "a", "min_tokens": 1}, "a", "b")["min_tokens"] == 0


def test_other_values_stay_as_they_are_to_the_last_byte():
    body = b'{"prompt": "a", "seed": 12345678901234567890123, "x": 1.50, "y": "\\u00e9 /"}'
    assert continuation(Dialect.COMPLETIONS, body, partial_of(Dialect.COMPLETIONS, "b")).body == (
        b'{"prompt":"ab","seed":12345678901234567890123,"x":1.50,"y":"\\u00e9 /"}'
    )


def test_the_beginning_of_a_stop_text_is_kept_for_the_join():
    end = request(Dialect.COMPLETIONS, {"prompt": "a", "stop": ["b12", "xyz"]}, "ab1").text_end
    assert (end.tail, end.stops, end.keeps_stop) == ("b1", ("b12",), False)
    assert not request(Dialect.COMPLETIONS, {"prompt": "a", "stop": "b12"}, "b1x").text_end.stops


@pytest.mark.parametrize(
    ("limits", "used_up"),
    [
        ({"max_tokens": 2}, True),
        ({"max_tokens": 3}, False),
        ({"max_tokens": 9, "max_completion_tokens": 2}, True),
        ({"n_predict": -1}, False),
        ({}, False),
    ],
)
def test_tokens_are_used_up_at_the_least_of_the_limits(limits: dict[str, int], used_up: bool):
    partial = partial_of(Dialect.CHAT, "a", "b")
    assert is_used_up(json.dumps({"messages": [USER], **limits}).encode(), partial) is used_up
