"""Answers that another server has begun, continued by the mock."""

import json
from typing import Any

import pytest

from svc.mock.continuation import continue_answer, continue_prompt
from svc.mock.generation import NAME_END, GeneratedChoice, echo_prompt
from tests.unit.mock.in_process import InProcessMock

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
USER = {"role": "user", "content": "one two  three four"}
WHOLE = "m heard: one two  three four"


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def chat(mock: InProcessMock, begun: str, **fields: Any) -> Any:
    return mock.json("POST", CHAT, {"messages": [USER, assistant(begun)], **fields})


def text_of(answer: Any) -> str:
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("tokens", [None, 7, 20])
@pytest.mark.parametrize("author", ["m", "other"])
def test_a_text_goes_on_exactly_where_it_ends(author, tokens):
    whole = echo_prompt(author, "one  two\nthree", tokens, None, []).text
    for end in (len(author), *range(len(author + NAME_END), len(whole) + 1)):
        rest = continue_answer("m", "one  two\nthree", whole[:end], tokens, None, [])
        assert (whole[:end] + rest.text, rest.finish) == (whole, "stop")


def test_limits_and_stop_sequences_end_both_parts_together_as_they_end_the_whole():
    whole = echo_prompt("m", "a b c d", 20, 9, [])
    rest = continue_answer("m", "a b c d", "".join(whole.tokens[:4]), 20, 5, [])
    assert (rest.tokens, rest.finish) == (whole.tokens[4:], "length")
    assert continue_answer("m", "a b c d", "m heard: a", None, None, [" c"]) == GeneratedChoice(
        [" b"], "stop", stop=" c"
    )


def test_a_text_that_no_mock_has_begun_goes_on_too():
    assert continue_answer("m", "hi", "Good morning", None, None, []).text == " heard: hi"
    assert continue_answer("m", "hi", "x heard: nothing", None, None, []).text == " heard: hi"


def test_a_text_over_the_length_of_the_answer_is_complete():
    assert continue_answer("m", "hi", "a b c d", 2, None, []) == GeneratedChoice([], "stop")


@pytest.mark.parametrize("prompt", ["one two ", "say m heard: one"])
def test_a_prompt_with_the_beginning_of_the_own_answer_is_continued(prompt):
    whole = echo_prompt("m", prompt, None, None, [])
    for end in range(1, len(whole.tokens) + 1):
        begun = "".join(whole.tokens[:end])
        assert continue_prompt("m", prompt + begun, None, None, []) == GeneratedChoice(whole.tokens[end:], "stop")


@pytest.mark.parametrize("prompt", ["one", "m", "m heard: x", "x m heard: y", ""])
def test_a_prompt_without_it_is_none(prompt):
    assert continue_prompt("m", prompt, None, None, []) is None


@pytest.mark.parametrize("fields", [{}, {"continue_final_message": True, "add_generation_prompt": False}])
def test_a_chat_continues_the_final_assistant_message(fields):
    mock = InProcessMock()
    assert text_of(chat(mock, "m heard: one", **fields)) == " two  three four"
    assert text_of(chat(mock, "m heard: one two  ", **fields)) == "  three four", "templates strip white space"


def test_both_parts_are_counted_as_an_engine_counts_them():
    mock = InProcessMock()
    whole = mock.json("POST", CHAT, {"messages": [USER]})["usage"]
    rest = chat(mock, "m heard: one")["usage"]
    assert rest["completion_tokens"] == whole["completion_tokens"] - 3
    assert rest["prompt_tokens"] == whole["prompt_tokens"] + len("assistant: m heard: one\n") // 4


def test_a_streamed_chat_is_continued():
    body = {"messages": [USER, assistant("m heard: one two")], "stream": True}
    *events, done = InProcessMock().call("POST", CHAT, body).decode().strip().split("\n\n")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "  three four"
    assert (choices[-1]["finish_reason"], done) == ("stop", "data: [DONE]")


def test_completions_continue_the_prompt():
    answer = InProcessMock().json("POST", "/v1/completions", {"prompt": "a b cm heard: a", "max_tokens": 1})
    assert [(choice["text"], choice["finish_reason"]) for choice in answer["choices"]] == [(" b", "length")]


def test_messages_continue_the_partial_assistant_turn():
    mock = InProcessMock()
    turn = {"role": "assistant", "content": [{"type": "text", "text": "m heard: one"}]}
    answer = mock.json("POST", MESSAGES, {"messages": [USER, turn], "max_tokens": 99})
    assert answer["content"] == [{"type": "text", "text": " two  three four"}]
    mock.json("POST", MESSAGES, {"messages": [USER, assistant("m heard: ")], "max_tokens": 99})
    assert mock.status.startswith("400"), "Anthropic refuses white space at the end"


def test_a_conversation_without_a_user_is_continued():
    body = {"messages": [{"role": "system", "content": "one two"}, assistant("m heard: one")]}
    assert text_of(InProcessMock().json("POST", CHAT, body)) == " two"


def test_a_mock_that_does_not_continue_begins_a_new_answer():
    mock = InProcessMock(final_message="ignore")
    assert text_of(chat(mock, "m heard: one")) == WHOLE
    assert text_of(chat(InProcessMock(), "m heard: one", continue_final_message=False)) == WHOLE


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_mock_that_refuses_answers_400(path):
    mock = InProcessMock(final_message="refuse")
    error = mock.json("POST", path, {"messages": [USER, assistant("m heard: one")], "max_tokens": 9})["error"]
    assert (mock.status[:3], "must end with a user message" in error["message"]) == ("400", True)
    assert text_of(mock.json("POST", CHAT, {"messages": [USER]})) == WHOLE


def test_both_ways_to_end_the_prompt_are_refused_as_vllm_does():
    mock = InProcessMock()
    chat(mock, "m heard: one", continue_final_message=True, add_generation_prompt=True)
    assert mock.status.startswith("400")
