import json
from typing import Any

import pytest

from svc.router.resume.dialect import Dialect
from svc.router.resume.eligibility import REASONS, why_not
from svc.router.resume.partial_answer import PartialAnswer

USER = {"role": "user", "content": "Hi"}
BODIES: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"model": "m", "stream": True, "messages": [USER]},
    Dialect.COMPLETIONS: {"model": "m", "stream": True, "prompt": "Hi"},
    Dialect.MESSAGES: {"model": "m", "stream": True, "max_tokens": 100, "messages": [USER]},
}
LIMIT = 1000


def chat(*deltas: dict[str, Any], **choice: Any) -> PartialAnswer:
    """Return what a client has after the role and these deltas."""
    partial = PartialAnswer(Dialect.CHAT)
    for delta in ({"role": "assistant", "content": ""}, *deltas):
        choices = [{"index": 0, "delta": delta, "finish_reason": None, **choice}]
        partial.feed(b"data: %b\n\n" % json.dumps({"id": "a", "choices": choices}).encode())
    return partial


def begun(dialect: Dialect) -> PartialAnswer:
    """Return what a client has of an answer that has begun with a text."""
    if dialect is Dialect.CHAT:
        return chat({"content": "Hello"})
    partial = PartialAnswer(dialect)
    if dialect is Dialect.COMPLETIONS:
        partial.feed(b'data: {"id":"a","choices":[{"index":0,"text":"Hello"}]}\n\n')
        return partial
    partial.feed(b'data: {"type":"message_start","message":{"id":"a"}}\n\n')
    partial.feed(b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text"}}\n\n')
    partial.feed(b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}\n\n')
    return partial


def reason(dialect: Dialect, partial: PartialAnswer | None = None, **more: Any) -> str:
    return why_not(dialect, json.dumps({**BODIES[dialect], **more}).encode(), partial or begun(dialect), LIMIT)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_text_that_has_begun_may_be_continued(dialect: Dialect):
    assert reason(dialect) == ""
    assert reason(dialect, PartialAnswer(dialect)) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "response_format": {"type": "text"}, "tool_choice": "auto", "stop": "x"},
        {"n": None, "response_format": None, "tools": None, "tool_choice": "none", "top_logprobs": 0, "grammar": ""},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "stop": ["x", "y"], "max_tokens": -1},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "min_tokens": 5},
        {"messages": [USER, {"role": "assistant", "content": "He"}], "continue_final_message": True},
        {"messages": [USER, {"role": "assistant", "content": "He"}]}
        | {"continue_final_message": True, "add_generation_prompt": False},
        {
            "messages": [{"role": "tool", "content": "7", "tool_call_id": "1"}],
            "stream_options": {"include_usage": True},
        },
    ],
)
def test_usual_chats_may_be_continued(fields: dict[str, Any]):
    assert reason(Dialect.CHAT, **fields) == ""


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("several_choices", {"n": 2}),
        ("several_choices", {"use_beam_search": True}),
        ("logprobs", {"logprobs": True}),
        ("logprobs", {"prompt_logprobs": 1}),
        ("logprobs", {"n_probs": 2}),
        ("logprobs", {"return_token_ids": True}),
        ("logprobs", {"return_hidden_states": True}),
        ("structured_output", {"response_format": {"type": "json_object"}}),
        ("structured_output", {"response_format": {"type": "json_schema", "json_schema": {}}}),
        ("structured_output", {"response_format": {"type": "structural_tag"}}),
        ("structured_output", {"guided_json": {"type": "object"}}),
        ("structured_output", {"guided_choice": ["a"]}),
        ("structured_output", {"structured_outputs": {"regex": "a"}}),
        ("structured_output", {"grammar": "root ::= a"}),
        ("structured_output", {"json_schema": {"type": "object"}}),
        ("structured_output", {"regex": "a+"}),
        ("structured_output", {"ebnf": "root ::= a"}),
        ("structured_output", {"tool_choice": "required"}),
        ("structured_output", {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ("structured_output", {"function_call": {"name": "f"}}),
        ("reasoning", {"include_reasoning": False}),
        ("not_supported", {"echo": True}),
        ("not_supported", {"kv_transfer_params": {"do_remote_decode": True}}),
        ("not_supported", {"truncate_prompt_tokens": 5}),
        ("not_supported", {"audio": {"voice": "a"}}),
        ("not_supported", {"stream": False}),
        ("not_supported", {"max_tokens": "5"}),
        ("not_supported", {"max_tokens": True}),
        ("not_supported", {"stop": [5]}),
        ("not_supported", {"stop": 5}),
        ("not_supported", {"stop": ["x"] * 33}),
        ("not_supported", {"stop": "x" * 501}),
        ("not_supported", {"messages": []}),
        ("not_supported", {"messages": "Hi"}),
        ("not_supported", {"messages": ["Hi"]}),
        ("not_supported", {"add_generation_prompt": False}),
        ("structured_output", {"response_format": "json"}),
        # vLLM begins a new message after the client's last one, llama.cpp continues it.
        ("not_supported", {"messages": [USER, {"role": "assistant", "content": "He"}]}),
    ],
)
def test_chats_that_a_continuation_would_break_are_not_continued(expected: str, fields: dict[str, Any]):
    assert reason(Dialect.CHAT, **fields) == expected


@pytest.mark.parametrize(
    "last",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "He", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": [{"type": "text", "text": "He"}]},
        {"role": "assistant", "content": [{"type": "image_url"}]},
        {"role": "assistant"},
    ],
)
def test_a_beginning_by_the_client_is_continued_only_if_it_is_text(last: dict[str, Any]):
    assert reason(Dialect.CHAT, messages=[USER, last], continue_final_message=True) == "not_supported"


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("", {"prompt": ["Hi"], "logprobs": None, "best_of": 1, "suffix": None}),
        ("several_choices", {"best_of": 2}),
        ("logprobs", {"logprobs": 0}),
        ("not_supported", {"prompt": ["Hi", "Ho"]}),
        ("not_supported", {"prompt": [1, 2]}),
        ("not_supported", {"prompt": [[1, 2]]}),
        ("not_supported", {"prompt": None}),
        ("not_supported", {"suffix": "!"}),
        ("not_supported", {"echo": True}),
        ("not_supported", {"prompt_embeds": "AA=="}),
    ],
)
def test_completions_of_one_text_may_be_continued(expected: str, fields: dict[str, Any]):
    assert reason(Dialect.COMPLETIONS, **fields) == expected


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("", {"messages": [USER, {"role": "assistant", "content": "He"}]}),
        ("", {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "He"}]}]}),
        ("", {"tools": [{"name": "f"}], "tool_choice": {"type": "auto"}, "thinking": {"type": "disabled"}}),
        ("structured_output", {"tool_choice": {"type": "any"}}),
        ("structured_output", {"output_config": {"format": {"type": "json_schema"}}}),
        ("not_supported", {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use"}]}]}),
    ],
)
def test_messages_may_be_continued_after_their_last_turn(expected: str, fields: dict[str, Any]):
    assert reason(Dialect.MESSAGES, **fields) == expected


@pytest.mark.parametrize(
    ("expected", "partial"),
    [
        ("tool_call", chat({"content": "Hello"}, {"tool_calls": [{"index": 0, "id": "1"}]})),
        ("tool_call", chat({"function_call": {"name": "f"}})),
        ("reasoning", chat({"reasoning_content": "Hm"})),
        ("reasoning", chat({"reasoning": "Hm"}, {"content": "\n"})),
        ("reasoning", chat({"content": "Hello"}, {"reasoning": "Hm"}, {"content": "!"})),
        ("reasoning", chat({"content": "\n<think>"}, {"content": "Hm"})),
        ("reasoning", chat({"content": "Hm</think>"}, {"content": "Hello"})),
        ("logprobs", chat({"content": "Hello"}, logprobs={"content": []})),
        ("several_choices", chat({"content": "Hello"}, index=1)),
        ("unreadable", chat({"content": "Hello"}, {"audio": {"data": "AA=="}})),
        ("unreadable", chat({"content": "Hello"}, {"image": {"url": "data:"}})),
        ("unreadable", chat({"content": "Hello", "refusal": "No"})),
        ("unreadable", chat({"content": 5})),
        ("unreadable", chat({"content": "\ud83d"})),
        ("too_long", chat({"content": "a" * (LIMIT + 1)})),
        ("too_long", chat({"content": "é" * (LIMIT // 2 + 1)})),
        ("", chat({"content": "a" * LIMIT})),
        ("", chat({"reasoning": "Hm"}, {"content": "Hello"})),
        ("", chat({"content": "\ud83d"}, {"content": "\ude00"})),
        ("", chat({"content": "Hello", "tool_calls": None, "audio": None, "unknown": None, "reasoning": ""})),
    ],
)
def test_what_the_stream_has_decides_too(expected: str, partial: PartialAnswer):
    assert reason(Dialect.CHAT, partial) == expected


@pytest.mark.parametrize(
    ("expected", "block"),
    [
        ("reasoning", {"type": "thinking", "thinking": ""}),
        ("tool_call", {"type": "tool_use", "id": "1", "name": "f", "input": {}}),
        ("unreadable", {"type": "image"}),
    ],
)
def test_only_blocks_of_text_are_continued(expected: str, block: dict[str, Any]):
    partial = begun(Dialect.MESSAGES)
    partial.feed(b'data: {"type":"content_block_stop","index":0}\n\n')
    event = {"type": "content_block_start", "index": 1, "content_block": block}
    partial.feed(b"data: %b\n\n" % json.dumps(event).encode())
    assert reason(Dialect.MESSAGES, partial) == expected


@pytest.mark.parametrize("fields", [{"logprobs": True}, {"response_format": {"type": "json_object"}}, {"echo": True}])
def test_as_long_as_nothing_was_generated_every_request_is_sent_again(fields: dict[str, Any]):
    assert reason(Dialect.CHAT, chat(), **fields) == ""


def test_requests_that_cannot_be_read_are_not_continued():
    for body in (b"", b"[]", b"{", b'{"stream":true,"temperature":NaN}', '{"stream":true}'.encode("utf-16")):
        assert why_not(Dialect.CHAT, body, begun(Dialect.CHAT), LIMIT) == "not_supported"
    assert why_not(None, json.dumps(BODIES[Dialect.CHAT]).encode(), begun(Dialect.CHAT), LIMIT) == "not_supported"


def test_reasons_are_words_for_labels_and_clauses_for_a_sentence():
    for word, clause in REASONS.items():
        assert word.replace("_", "").isalpha()
        assert clause[0].islower()
        assert not clause.endswith(".")
